"""The numbers of the response: configs/simulate/response.toml, checked."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, fields
from importlib import resources
from typing import Any

from scout40.streams.errors import BadConfig

FILE = "response.toml"
EXTRAPOLATIONS = ("fitted", "computed")


@dataclass(frozen=True)
class Response:
    """Everything that response.toml says of one preset; its comments tell what each means.

    Of nested tables the names are joined: ``finder.eta_noise`` is ``finder_eta_noise``.
    """

    preset: str
    smear: tuple[float, ...]
    stations_inefficiency: float
    stations_phi_noise: tuple[float, ...]
    stations_bend_noise: tuple[float, ...]
    finder_borders: tuple[float, ...]
    finder_end: float
    finder_least_pt: tuple[float, ...]
    finder_least_p: tuple[float, ...]
    finder_eta_noise: tuple[float, ...]
    finder_eta_step: tuple[int, ...]
    finder_quality: tuple[int, ...]
    finder_efficiency: tuple[float, ...]
    finder_cracks: tuple[float, ...]
    finder_crack_width: float
    finder_crack_efficiency: float
    extrapolation_tables: str
    ghosts_eta_reach: float
    ghosts_phi_reach: float
    ghosts_probability: float
    ghosts_shared_segment: float
    punch_through_pt: tuple[float, ...]
    punch_through_energy: tuple[float, ...]
    punch_through_angle: float
    punch_through_next_station: float
    noise_endcap: float
    noise_pt: tuple[float, ...]
    noise_quality: int
    calibration_seed: int
    calibration_fit: int
    calibration_fit_pt: tuple[float, ...]
    calibration_scale: int
    calibration_scale_pt: tuple[float, ...]
    calibration_pass: float

    def digest(self) -> str:
        """SHA-256 of all numbers."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


_LENGTHS = {
    "smear": 3, "stations_phi_noise": 2, "stations_bend_noise": 2, "finder_borders": 2,
    "finder_least_pt": 3, "finder_least_p": 3,
    "finder_eta_noise": 3, "finder_eta_step": 3, "finder_quality": 3, "finder_efficiency": 3,
    "punch_through_pt": 2, "punch_through_energy": 2, "noise_pt": 2,
    "calibration_fit_pt": 2, "calibration_scale_pt": 2,
}  # fmt: skip
_MOST_MUONS = 10_000_000


def presets() -> tuple[str, ...]:
    """Names of the presets."""
    return tuple(_settings()["presets"])


def response(preset: str) -> Response:
    """The response of a preset; BadConfig when there is none of this name."""
    settings = _settings()
    known = settings["presets"]
    if preset not in known:
        raise BadConfig(f"no preset {preset!r}: expected one of {', '.join(known)}")
    values: dict[str, Any] = {"preset": preset, "smear": known[preset]}
    for table, entries in settings.items():
        if table != "presets":
            values |= {f"{table}_{key}": value for key, value in entries.items()}
    return from_values(values)


def from_values(values: dict[str, Any]) -> Response:
    """A response of these fields; BadConfig for a wrong, missing or unknown one."""
    names = {f.name for f in fields(Response)}
    if set(values) != names:
        wrong = ", ".join(sorted(set(values) ^ names))
        raise BadConfig(f"{FILE}: unknown or missing: {wrong}")
    made: dict[str, Any] = {}
    for field in fields(Response):
        made[field.name] = _checked(field.name, str(field.type), values[field.name])
    return Response(**made)


def _settings() -> dict[str, Any]:
    place = resources.files("scout40.configs").joinpath("simulate", FILE)
    return tomllib.loads(place.read_text())


def _checked(name: str, kind: str, value: Any) -> Any:
    """The value in its type; sizes are bounded, fractions are in 0..1."""
    if kind == "str":
        if name == "extrapolation_tables" and value not in EXTRAPOLATIONS:
            raise BadConfig(f"{FILE}: {name} has {value!r}, expected one of {EXTRAPOLATIONS}")
        return str(value)
    many = isinstance(value, (list, tuple))
    if many != kind.startswith("tuple"):
        raise BadConfig(f"{FILE}: {name} has {value!r}, expected {kind}")
    if many and len(value) != _LENGTHS.get(name, len(value)):
        raise BadConfig(f"{FILE}: {name} has {len(value)} numbers, expected {_LENGTHS[name]}")
    for one in value if many else [value]:
        if isinstance(one, bool) or not isinstance(one, (int, float)):
            raise BadConfig(f"{FILE}: {name} has {one!r}, expected a number")
        if "int" in kind and not isinstance(one, int):
            raise BadConfig(f"{FILE}: {name} has {one!r}, expected an integer")
        if not 0 <= one <= _MOST_MUONS:
            raise BadConfig(f"{FILE}: {name} has {one!r}, expected 0..{_MOST_MUONS}")
    return tuple(value) if many else value
