"""Kernels of notebooks that start in milliseconds: forks of a server that has imported frameworks, not our packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

from tests.processes import start

LAUNCHER = "ipykernel_launcher"
MODULES = (
    *("ipykernel.kernelapp", "ipykernel.ipkernel", "IPython.core.interactiveshell"),
    *("langchain.agents", "langchain_core.output_parsers", "langchain_core.prompts"),
    *("langgraph.store.base", "llama_index.core"),
    *("av", "numpy.random", "scipy.sparse"),
)


class Forked(LocalProvisioner):  # type: ignore[misc]
    """Fork a kernel where a fresh Python would be started for it."""

    async def launch_kernel(self, cmd: list[str], **settings: Any) -> dict[str, Any]:
        """Start the kernel that a command asks for."""
        program = f"import runpy; runpy.run_module({LAUNCHER!r}, run_name='__main__', alter_sys=True)"
        arguments = cmd[cmd.index(LAUNCHER) + 1 :]
        self.process = start(program, *arguments, cwd=Path(settings["cwd"]), env=settings["env"], modules=MODULES)
        self.pid = self.process.pid  # and no pgid: its group is that of the tests
        return dict(self.connection_info)


class Kernels(AsyncKernelManager):  # type: ignore[misc]
    """What starts a kernel and speaks with it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.provisioner = Forked(kernel_spec=self.kernel_spec, parent=self)
