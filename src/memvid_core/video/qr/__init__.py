"""QR pictures: symbols, erasure coding, and reading them from any video. Importing this package registers the codec."""

from memvid_core.video.qr.codec import QRCodec

__all__ = ["QRCodec"]
