"""Linear probes: logistic and ridge regression, with intervals over scenes."""
import numpy as np
import torch
import torch.nn.functional as F

PENALTY = 1e-4
RESAMPLES = 300


class Answers:
    """Which test cases came out right."""

    def __init__(self, right, truth, scene):
        self.right, self.truth, self.scene = right.astype(float), truth, scene

    def figures(self, member=None):
        """Share right with its 95% interval over scenes, chance, and how many there are; None where there are none."""
        member = np.ones(len(self.right), bool) if member is None else member
        right, truth, scene = self.right[member], self.truth[member], self.scene[member]
        if len(right) == 0:
            return dict(value=float("nan"), chance=float("nan"), count=0)
        low, high = interval(right, scene)
        return dict(value=float(right.mean()), low=low, high=high, chance=float(np.bincount(truth).max() / len(truth)),
                    count=len(right))


def interval(values, scene):
    """95% interval of the mean, by drawing whole scenes again."""
    total = np.bincount(scene, values)
    count = np.bincount(scene)
    total, count = total[count > 0], count[count > 0]
    drawn = np.random.default_rng(0).integers(len(count), size=(RESAMPLES, len(count)))
    means = total[drawn].sum(1) / count[drawn].sum(1)
    return [float(v) for v in np.quantile(means, [0.025, 0.975])]


def standardised(x, xt):
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    return (x - mean) / deviation, (xt - mean) / deviation


def classify(x, y, xt, yt, scene, penalty=PENALTY, balanced=False):
    """Logistic regression; with `balanced` each class has the same weight."""
    x, xt = standardised(x, xt)
    y = torch.from_numpy(y)
    classes = int(y.max()) + 1
    weight = 1 / torch.bincount(y, minlength=classes).clamp(min=1).float() if balanced else torch.ones(classes)
    linear = torch.nn.Linear(x.shape[1], classes)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(linear(x), y, weight=weight) + penalty * linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        guess = linear(xt).argmax(1).numpy()
    return Answers(guess == yt, yt, scene)


def explain(x, y, xt, yt, scene, penalty=1e-2):
    """Ridge regression: the share of the variance of y that is explained, with its 95% interval over scenes."""
    x, xt = (torch.cat([v, torch.ones(len(v), 1)], 1) for v in standardised(x, xt))
    y = torch.from_numpy(y).float()
    solved = torch.linalg.solve(x.T @ x + penalty * len(x) * torch.eye(x.shape[1]), x.T @ y)
    left = ((xt @ solved).numpy() - yt) ** 2
    whole = (yt - yt.mean(0)) ** 2
    low, high = (1 - v / whole.sum(1).mean() for v in interval(left.sum(1), scene))
    return dict(value=float(1 - left.sum() / whole.sum()), low=float(high), high=float(low), chance=0.0, count=len(yt))
