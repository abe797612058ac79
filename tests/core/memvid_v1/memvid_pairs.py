"""Pairs as Memvid 0.1 writes them: a QR code a picture in a video, and a JSON index with the same texts."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import qrcode
import zxingcpp
from numpy.typing import NDArray

DEFAULT_SIDE = 256
"""Pixels a side that Memvid scales a symbol of 815 to: 1.6 a module, which its own reader cannot read."""


def symbol(said: str, version: int | None = None) -> NDArray[np.uint8]:
    """The symbol that Memvid draws: gzip and base64 above 100 characters, level M, a margin of 3, 5 pixels a module.

    Its version is 35 at least, whatever it says; here, where that is not asked for, the smallest that fits.
    """
    if len(said) > 100:
        said = "GZ:" + base64.b64encode(gzip.compress(said.encode(), mtime=0)).decode()  # the same at any time of day
    if version is not None:
        drawn = qrcode.QRCode(version, qrcode.constants.ERROR_CORRECT_M, box_size=5, border=3, mask_pattern=2)
        drawn.add_data(said)
        modules = np.where(np.array(drawn.get_matrix(), bool), 0, 255).astype(np.uint8)
        return modules.repeat(5, 0).repeat(5, 1)
    barcode = zxingcpp.create_barcode(said, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    modules = np.array(zxingcpp.write_barcode_to_image(barcode, scale=5, add_quiet_zones=False))
    return np.pad(modules, 15, constant_values=255)


def write_pair(
    folder: Path,
    texts: Sequence[str],
    *,
    name: str = "old.mp4",
    encoder: str = "mpeg4",
    side: int = 512,
    version: int | None = None,
    blank: Sequence[int] = (),
    **options: str,
) -> tuple[Path, Path]:
    """Write a pair; the pictures in ``blank`` show nothing, as when they are too small to be read."""
    video, index = folder / name, folder / "old_index.json"
    with av.open(str(video), "w") as container:
        stream: Any = container.add_stream(encoder, rate=30, options=options)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        if not options:
            stream.bit_rate = 8_000_000
        for number, text in enumerate(texts):
            drawn = symbol(json.dumps({"id": number, "text": text, "frame": number}), version)
            drawn = np.full_like(drawn, 255) if number in blank else drawn
            frame = av.VideoFrame.from_ndarray(drawn, format="gray").reformat(side, side, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    metadata = [{"id": i, "text": text, "frame": i, "length": len(text)} for i, text in enumerate(texts)]
    told = {
        "metadata": metadata,
        "chunk_to_frame": {str(i): i for i in range(len(texts))},
        "frame_to_chunks": {str(i): [i] for i in range(len(texts))},
        "config": {"qr": {"version": 35, "error_correction": "M"}},
    }
    index.write_text(json.dumps(told, indent=2), encoding="utf-8")
    (folder / "old_index.faiss").write_bytes(b"IxF2 not read")
    return video, index
