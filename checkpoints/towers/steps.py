"""A training that can be stopped and gone on with: a given number of steps, each of which draws its random numbers
from its own number, so that a run in parts makes what a run in one makes. Several processes may share each step's
batch: their gradients are averaged. On a GPU where there is one."""
import math
import os
import time

import numpy as np
import torch
import torch.distributed as dist

SAVE_EVERY = 90  # seconds
LOG_EVERY = 50  # steps
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LEAST_CHANNELS = 16  # of a kernel that counts as a hidden matrix


class Shadows:
    """Convolutions' kernels as matrices [out, in * h * w], for optimizers that take only matrices."""

    def __init__(self, kernels):
        self.kernels = kernels
        self.matrices = [torch.nn.Parameter(k.detach().flatten(1)) for k in kernels]  # of the kernels' own memory

    def share_gradients(self):
        for kernel, matrix in zip(self.kernels, self.matrices):
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
            kernel.grad = None


def optimizers_for(module, rate, decay, kernels=False):
    """Muon for the hidden matrices, with `kernels` the convolutions' too, AdamW for everything else."""
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    matrix = [p for n, p in named if p.ndim == 2 and "embed" not in n]
    shadows = Shadows([p for _, p in named if kernels and p.ndim == 4 and min(p.shape[:2]) >= LEAST_CHANNELS])
    chosen = {id(p) for p in matrix + shadows.kernels}
    rest = [p for n, p in named if id(p) not in chosen]
    return [torch.optim.AdamW(rest, lr=rate, weight_decay=decay, betas=(0.9, 0.98)),
            torch.optim.Muon(matrix + shadows.matrices, lr=rate, weight_decay=decay, momentum=0.95,
                             adjust_lr_fn="match_rms_adamw")], shadows


class Training:
    """`steps` steps of `module` at a rate that warms up over `warmup` steps and falls as a cosine to 2%. With
    `average`, an exponential mean of the weights is kept, which is what is saved at the end."""

    def __init__(self, name, module, folder, steps, rate, warmup=100, decay=0.01, average=None,
                 kernels=False):
        self.name, self.module, self.steps, self.rate, self.warmup = name, module, steps, rate, warmup
        module.to(DEVICE)
        self.optimizers, self.shadows = optimizers_for(module, rate, decay, kernels)
        self.processes, self.rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        self.average = average
        self.mean_weights = [p.detach().clone() for p in module.parameters()] if average else None
        self.state_file = os.path.join(folder, f"{name}.state.pt")
        self.step, self.loss, self.seconds = 0, None, 0.0
        if os.path.exists(self.state_file):
            self.read_state()

    def read_state(self):
        state = torch.load(self.state_file, weights_only=True, map_location="cpu")
        if state["steps"] != self.steps:
            raise SystemExit(f"{self.state_file}: belongs to a training of {state['steps']} steps, this one has "
                             f"{self.steps}; name another folder or remove the file")
        self.module.load_state_dict(state["module"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(kept)
        if self.average:
            self.mean_weights = [mean.to(DEVICE) for mean in state["mean_weights"]]
        self.step, self.loss, self.seconds = state["step"], state["loss"], state["seconds"]
        self.say(f"goes on at step {self.step}")

    def say(self, text):
        if self.rank == 0:
            print(f"{self.name} {text}", flush=True)

    def write_state(self):
        state = dict(steps=self.steps, step=self.step, loss=self.loss, seconds=self.seconds,
                     module=self.module.state_dict(), optimizers=[o.state_dict() for o in self.optimizers],
                     mean_weights=self.mean_weights)
        torch.save(state, self.state_file + ".partial")
        os.replace(self.state_file + ".partial", self.state_file)

    def mean_over_processes(self, loss):
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients] + [loss.detach().view(1)]) / self.processes
        dist.all_reduce(flat)
        loss.data.copy_(flat[-1])
        at = 0
        for gradient in gradients:
            gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
            at += gradient.numel()

    def scale(self):
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        return min(1, (self.step + 1) / self.warmup) * (0.02 + 0.98 * cosine)

    def take(self, loss_of_step):
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * self.scale()
        torch.manual_seed(self.step)
        loss = loss_of_step(np.random.default_rng(self.step), self.step / self.steps)
        loss.backward()
        if self.processes > 1:
            self.mean_over_processes(loss)
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.shadows.share_gradients()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self.loss = loss.item() if self.loss is None else 0.99 * self.loss + 0.01 * loss.item()
        if self.average:
            share = max(1 - self.average, 1 / self.step)
            for mean, now in zip(self.mean_weights, self.module.parameters()):
                mean.lerp_(now.detach(), share)

    def run(self, loss_of_step, save):
        """loss_of_step(rng, progress) is a scalar tensor; save() writes the network, at the end with mean weights."""
        begin = saved = time.time()
        before = self.seconds
        while self.step < self.steps:
            self.take(loss_of_step)
            self.seconds = before + time.time() - begin
            if self.step % LOG_EVERY == 0:
                self.say(f"step {self.step} of {self.steps} loss {self.loss:.4f} {self.seconds:.0f} s")
            if self.rank == 0 and (time.time() - saved > SAVE_EVERY or self.step == self.steps):
                self.write_state()
                saved = time.time()
        if self.average:
            with torch.no_grad():
                for mean, now in zip(self.mean_weights, self.module.parameters()):
                    now.copy_(mean)
        if self.rank == 0:
            save()
        self.say(f"{self.steps} steps loss {self.loss:.4f} {self.seconds:.0f} s")
