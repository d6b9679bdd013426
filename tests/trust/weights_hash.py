"""The hash of a checkpoint's weights: ``python tests/trust/weights_hash.py CHECKPOINT ...``."""

import hashlib
import io
import sys
import zipfile

import torch


def weights_hash(path):
    """SHA-256 of the names and the bits of all tensors of the policy."""
    with zipfile.ZipFile(path) as archive:
        weights = torch.load(io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True)
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    for checkpoint in sys.argv[1:]:
        print(weights_hash(checkpoint), checkpoint)
