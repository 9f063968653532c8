from typing import Literal

__version__: str
build_profile: Literal["debug", "release"]
simd_level: str
