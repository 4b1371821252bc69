"""The plugin in a Mosquitto for which it was not built: it does not start."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from .launcher import MOSQUITTO, broker

LIBRARY = """
int mosquitto_lib_version(int *major, int *minor, int *revision)
{
    *major = 3, *minor = 0, *revision = 7;
    return 3000007;
}
"""
BROKER = "int mosquitto_plugin_set_info(void *id) { return !id; }"


@pytest.mark.parametrize(
    ("code", "line"),
    [(LIBRARY, "running in 3.0.7: rebuild it"), (BROKER, "the broker is not: install those of one version")],
    ids=["library", "broker"],
)
def test_another_version_is_refused(plugin: None, code: str, line: str) -> None:
    with broker() as made:
        compiler = shutil.which("cc") or pytest.skip("not installed: cc")
        source, preloaded = made.folder / "other.c", made.folder / "other.so"
        source.write_text(code)
        subprocess.run([compiler, "-shared", "-fPIC", source, "-o", preloaded], check=True)
        if "plugin_set_info" in code and "mosquitto_plugin_set_info" in _exported():
            pytest.skip("this Mosquitto is 2.1")
        made.mosquitto = ("env", f"LD_PRELOAD={preloaded}", MOSQUITTO)
        made.launch()
        assert made.ended() != 0
        assert line in made.log
        assert not made.listens()


def _exported() -> str:
    return subprocess.run(["nm", "-D", MOSQUITTO], capture_output=True, text=True).stdout
