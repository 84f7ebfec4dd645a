"""z ──quantizer──▶ tokens by Gumbel-softmax on a GPU: all that is made of logits, in one pass each way.

Shapes: N frames, G groups, V codes, D entry size, P parts of R frames. All sums are fp32.
"""

import triton
import triton.language as tl


@triton.jit
def _soft(x, inside):
    x = tl.where(inside, x, -float("inf"))
    x = tl.exp(x - tl.max(x, 0))
    return x / tl.sum(x, 0)


@triton.jit
def sample(
    logits, drawn, entries, codes, rows, out, probs, counts, N, G, V, D, R, heat, books,
    V2: tl.constexpr, D2: tl.constexpr,
):  # fmt: skip
    """The best code, and a sampled one with its entry; sums of probabilities and codes by part [P, G, V]."""
    p, g = tl.program_id(0), tl.program_id(1)
    v, d = tl.arange(0, V2), tl.arange(0, D2)
    inside = v < V
    total, chosen = tl.zeros([V2], tl.float32), tl.zeros([V2], tl.float32)
    for n in range(p * R, tl.minimum(p * R + R, N)):
        at = (n * G + g).to(tl.int64) * V + v
        x = tl.load(logits + at, inside, -float("inf")).to(tl.float32)
        best = tl.argmax(x, 0)
        total += _soft(x, inside)
        chosen += tl.where(v == best, 1.0, 0.0)
        noisy = (x - tl.log(tl.load(drawn + at, inside, 1.0))) * heat
        row = tl.argmax(tl.where(inside, noisy, -float("inf")), 0) + tl.where(books > 1, g, 0) * V
        tl.store(codes + n * G + g, best.to(tl.int64))
        tl.store(rows + n * G + g, row.to(tl.int64))
        tl.store(out + (n * G + g) * D + d, tl.load(entries + row * D + d, d < D, 0.0), d < D)
    tl.store(probs + (p * G + g) * V + v, total, inside)
    tl.store(counts + (p * G + g) * V + v, chosen, inside)


@triton.jit
def sample_backward(logits, drawn, to_soft, to_probs, to_logits, N, G, V, R, heat, V2: tl.constexpr):
    """The gradient of the logits, of the soft sample's [G, N, V] and of the probabilities' sum's."""
    p, g = tl.program_id(0), tl.program_id(1)
    v = tl.arange(0, V2)
    inside = v < V
    wanted = tl.load(to_probs + g * V + v, inside, 0.0).to(tl.float32)
    for n in range(p * R, tl.minimum(p * R + R, N)):
        at = (n * G + g).to(tl.int64) * V + v
        x = tl.load(logits + at, inside, -float("inf")).to(tl.float32)
        probs = _soft(x, inside)
        soft = _soft((x - tl.log(tl.load(drawn + at, inside, 1.0))) * heat, inside)
        came = tl.load(to_soft + (g * N + n).to(tl.int64) * V + v, inside, 0.0).to(tl.float32)
        found = soft * (came - tl.sum(soft * came, 0)) * heat + probs * (wanted - tl.sum(probs * wanted, 0))
        tl.store(to_logits + at, found.to(to_logits.dtype.element_ty), inside)
