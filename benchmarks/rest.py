"""What rest costs on this computer: the same small work right after itself and after a pause.

A flow mostly waits for its part, so that nearly all its work is done after a pause. On most computers a pause costs a
few times the work (caches); where a host takes memory back from its guests it costs fifty times, and processor time per
part with it. A figure of processor time is read beside this one.
"""

from __future__ import annotations

import statistics
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.figures import Figure

PAUSE = 0.2
ROUNDS = 10


def rest_figure() -> Figure:
    """Processor time of one ECDSA verification (P-256) after a pause, against one that follows another."""
    key, message, kind = ec.generate_private_key(ec.SECP256R1()), b"rest", ec.ECDSA(hashes.SHA256())
    signature, public = key.sign(message, kind), key.public_key()

    def spent() -> float:
        before = time.thread_time()
        public.verify(signature, message, kind)
        return 1000 * (time.thread_time() - before)

    rested, repeated = [], []
    for _ in range(ROUNDS):
        time.sleep(PAUSE)
        rested.append(spent())
        spent()
        repeated.append(spent())
    return Figure("this computer: one P-256 verification after 0.2 s of rest", statistics.median(rested), "ms", None,
                  statistics.median(repeated), "right after another")  # fmt: skip
