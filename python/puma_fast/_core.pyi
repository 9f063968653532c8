from typing import Literal

__version__: str
build_profile: Literal["debug", "release"]
simd_level: str

__all__ = ["__version__", "build_profile", "simd_level"]
