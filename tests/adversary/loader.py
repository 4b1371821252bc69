"""A plugin whose measured file is a shell: what marks the messages is another file, which it loads by itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = """\
#include <dlfcn.h>
static void *rest;
int mosquitto_plugin_version(int count, const int *versions)
{
	rest = dlopen(REST, RTLD_NOW);
	return ((int (*)(int, const int *))dlsym(rest, "mosquitto_plugin_version"))(count, versions);
}
int mosquitto_plugin_init(void *id, void **data, void *options, int count)
{
	return ((int (*)(void *, void **, void *, int))dlsym(rest, "mosquitto_plugin_init"))(id, data, options, count);
}
int mosquitto_plugin_cleanup(void *data, void *options, int count)
{
	return ((int (*)(void *, void *, int))dlsym(rest, "mosquitto_plugin_cleanup"))(data, options, count);
}
"""


def loading_plugin(folder: Path, rest: Path) -> Path:
    """Build it in *folder*; it loads *rest*, which the loader does not list."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("not installed: gcc")
    source, made = folder / "shell.c", folder / "shell.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", f'-DREST="{rest}"', source, "-o", made, "-ldl"], check=True)
    return made
