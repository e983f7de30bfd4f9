"""The network of eval/phrases/noun_chunk_network.c: features of a token, forward pass and decoding, as the C code computes them.

A token's vector is the sum of rows of four tables, one for each of its features, the rows named by hashes; blocks of
convolutions of width 3 (dilated) refine it by its neighbours; a linear layer gives the scores of the three labels.
"""
import jax
import jax.numpy as jnp
import numpy

WIDTH = 96
HIDDEN = 96
DILATIONS = (1, 1, 2, 3)
# rows of the tables: word (two rows each), its end, its beginning, its shape
ROWS = {"word": 8192, "suffix": 3072, "prefix": 1536, "shape": 512}
NUM_FEATURES = 5
MASK64 = (1 << 64) - 1


def hash_bytes(data, seed):
    """FNV-1a of 64 bits, started from the seed, finished by MurmurHash3's mixing."""
    h = (0xCBF29CE484222325 ^ seed) & MASK64
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & MASK64
    h ^= h >> 33
    h = (h * 0xFF51AFD7ED558CCD) & MASK64
    h ^= h >> 33
    h = (h * 0xC4CEB9FE1A85EC53) & MASK64
    return h ^ (h >> 33)


def lower(data):
    """ASCII letters alone: other characters' cases are left to their own rows."""
    return data.lower()


def shape_of(data):
    """X upper, x lower, d digit, u any other character beyond ASCII, else the byte; at most four of a kind in a row."""
    shape = bytearray()
    run = 0
    for byte in data:
        if 0x80 <= byte < 0xC0:
            continue  # within a character
        kind = (ord("u") if byte >= 0xC0 else ord("X") if 65 <= byte <= 90 else ord("x") if 97 <= byte <= 122
                else ord("d") if 48 <= byte <= 57 else byte)
        run = run + 1 if shape and shape[-1] == kind else 1
        if run <= 4:
            shape.append(kind)
    return bytes(shape)


def feature_rows(data, after_space):
    """Rows of one token, in the one table that the four make together: word twice, suffix, prefix, shape."""
    low = lower(data)
    word = hash_bytes(low, 1)
    first = ROWS["word"]
    second = first + ROWS["suffix"]
    third = second + ROWS["prefix"]
    shape = shape_of(data) + (b" " if after_space else b"")
    return (word % ROWS["word"], (word >> 32) % ROWS["word"], first + hash_bytes(low[-3:], 2) % ROWS["suffix"],
            second + hash_bytes(low[:3], 3) % ROWS["prefix"], third + hash_bytes(shape, 4) % ROWS["shape"])


def initial_parameters(seed):
    random = numpy.random.default_rng(seed)
    parameters = {"table": random.normal(0, 0.1, (sum(ROWS.values()), WIDTH))}
    for i in range(len(DILATIONS)):
        parameters[f"up{i}"] = random.normal(0, (2 / (3 * WIDTH)) ** 0.5, (3 * WIDTH, HIDDEN))
        parameters[f"up_bias{i}"] = numpy.zeros(HIDDEN)
        parameters[f"down{i}"] = random.normal(0, 0.3 / HIDDEN ** 0.5, (HIDDEN, WIDTH))
        parameters[f"scale{i}"] = numpy.ones(WIDTH)
    parameters["scale_out"] = numpy.ones(WIDTH)
    parameters["out"] = random.normal(0, 0.1, (WIDTH, 3))
    parameters["out_bias"] = numpy.zeros(3)
    return {name: jnp.asarray(value, jnp.float32) for name, value in parameters.items()}


def rms_norm(x, scale):
    return x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6) * scale


def shifted(x, by):
    """x[t + by] at t, zeros beyond the ends."""
    if by > 0:
        return jnp.pad(x[:, by:], ((0, 0), (0, by), (0, 0)))
    return jnp.pad(x[:, :by], ((0, 0), (-by, 0), (0, 0)))


def network(parameters, rows, mask, dropout=0.0, key=None):
    """rows [B, T, 5], mask [B, T] (1 a token, 0 behind the text's end) -> scores [B, T, 3]."""
    x = jnp.sum(parameters["table"][rows], axis=2)
    if dropout:
        key, used = jax.random.split(key)
        x = x * jax.random.bernoulli(used, 1 - dropout, x.shape) / (1 - dropout)
    keep = mask[..., None]
    for i, dilation in enumerate(DILATIONS):
        n = rms_norm(x, parameters[f"scale{i}"]) * keep
        window = jnp.concatenate([shifted(n, -dilation), n, shifted(n, dilation)], axis=-1)
        h = jax.nn.relu(window @ parameters[f"up{i}"] + parameters[f"up_bias{i}"])
        if dropout:
            key, used = jax.random.split(key)
            h = h * jax.random.bernoulli(used, 1 - dropout, h.shape) / (1 - dropout)
        x = x + h @ parameters[f"down{i}"]
    return rms_norm(x, parameters["scale_out"]) @ parameters["out"] + parameters["out_bias"]


def decode(scores, spaces):
    """The labels of scores [T, 3] with the largest sum, where 2 follows only 1 or 2 (Viterbi), as noun_chunks.c.

    spaces [T]: whether a token is white space, which begins no chunk.
    """
    scores = numpy.array(scores, numpy.float32)
    scores[numpy.asarray(spaces, bool), 1] = -1e9
    best = numpy.array([0, -1e9, -1e9], numpy.float32)
    back = numpy.zeros((len(scores), 3), numpy.int8)
    for t, score in enumerate(scores):
        before = int(numpy.argmax(best))
        inside = 1 if best[1] >= best[2] else 2
        back[t] = before, before, inside
        best = numpy.array([score[0], score[1], best[inside] - best[before] + score[2]], numpy.float32)
    labels = numpy.zeros(len(scores), numpy.uint8)
    label = int(numpy.argmax(best))
    for t in range(len(scores) - 1, -1, -1):
        labels[t] = label
        label = back[t][label]
    return labels


def chunks_of(labels, spaces):
    """(begin, end) tokens; white space ends no chunk."""
    found = []
    for t, label in enumerate(labels):
        if label == 1:
            found.append([t, t + 1])
        elif label == 2 and not spaces[t]:
            found[-1][1] = t + 1
    return [tuple(chunk) for chunk in found]
