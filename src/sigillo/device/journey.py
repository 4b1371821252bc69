"""What a crate of wine measures on its way from the Langhe to Hamburg.

Pure: the same seed, device and number give the same reading.

Field names: BRAID's tracker. Units: TEMP °C, HUMID %, ACC_* g, LAT and LON degrees (WGS 84), HSPEED km/h, DIR degrees
from north, ALT and H_ACC m, DELAY s between two readings.
"""

from __future__ import annotations

import math
import random

FIRMWARE = "2.3.0"
TRIP_READINGS = 600
"""Readings of one trip; the next trip starts where the first did."""

_STOPS = (  # latitude, longitude (degrees), altitude (m)
    (44.6997, 8.0347, 172.0),  # Alba
    (45.4642, 9.1900, 120.0),  # Milano
    (45.4384, 10.9917, 59.0),  # Verona
    (46.4983, 11.3548, 262.0),  # Bolzano
    (47.0020, 11.5050, 1370.0),  # Brennero
    (48.1372, 11.5755, 520.0),  # München
    (49.4521, 11.0767, 309.0),  # Nürnberg
    (51.3127, 9.4797, 167.0),  # Kassel
    (53.5511, 9.9937, 6.0),  # Hamburg
)


def reading(seed: int, device_id: str, number: int, delay_s: float) -> dict[str, float | str]:
    """Reading *number* (≥ 1) of this device: the datagram's BODY."""
    noise = random.Random(f"{seed}/{device_id}/{number}")  # noqa: S311 (no secret)
    crate = random.Random(f"{seed}/{device_id}")  # noqa: S311 (stays the same on the trip)
    progress = ((number - 1) % TRIP_READINGS) / TRIP_READINGS
    latitude, longitude, altitude, direction = _position(progress)
    night = math.cos(2 * math.pi * progress * 2)  # two days on the road
    cold = crate.uniform(11.0, 13.0)
    return {
        "FW_VER": FIRMWARE,
        "DELAY": round(delay_s, 3),
        "TEMP": round(cold - 1.5 * night - altitude / 900 + noise.gauss(0, 0.15), 2),
        "HUMID": round(min(100.0, 68 + 6 * night + noise.gauss(0, 0.8)), 1),
        "ACC_X": round(noise.gauss(0, 0.03), 3),
        "ACC_Y": round(noise.gauss(0, 0.03), 3),
        "ACC_Z": round(1 + noise.gauss(0, 0.05), 3),
        "LAT": round(latitude + noise.gauss(0, 2e-5), 6),
        "LON": round(longitude + noise.gauss(0, 2e-5), 6),
        "HSPEED": round(max(0.0, noise.gauss(82, 6)), 1),
        "DIR": round(direction, 1),
        "ALT": round(altitude + noise.gauss(0, 3), 1),
        "H_ACC": round(noise.uniform(1.5, 6.0), 1),
    }


def _position(progress: float) -> tuple[float, float, float, float]:
    """Latitude, longitude, altitude and direction after this part (0 ≤ progress < 1) of the trip."""
    leg, part = divmod(progress * (len(_STOPS) - 1), 1)
    start, end = _STOPS[int(leg)], _STOPS[int(leg) + 1]
    latitude, longitude, altitude = (a + (b - a) * part for a, b in zip(start, end, strict=True))
    east = (end[1] - start[1]) * math.cos(math.radians(latitude))
    return latitude, longitude, altitude, math.degrees(math.atan2(east, end[0] - start[0])) % 360
