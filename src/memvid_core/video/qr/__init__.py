"""QR pictures: symbols, erasure coding, and reading them back from any video. Importing it registers the codec."""

from memvid_core.video.qr.codec import QRCodec

__all__ = ["QRCodec"]
