"""vLLM's ``AsyncLLMEngine`` behind the engine port.

Whatever blocks runs in one worker thread, and that thread also takes back what it has made: when its caller is
cancelled it is only told to give up. So nothing is left even where the event loop ends before the thread does.
"""

import importlib
import logging
import multiprocessing
import threading
import time
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import psutil

from eventinit.backends.engine_folder import EngineFolder
from eventinit.backends.process_environment import GivenUpError, process_environment
from eventinit.backends.process_tree import (
    SpawnedProcesses,
    end_trees,
    end_trees_when,
    is_running,
    with_descendants,
)
from eventinit.backends.shared_memory import remove_shared_memory, shared_memory_of
from eventinit.backends.vllm_arguments import argument_names, refuse_unknown, runtime_env, short
from eventinit.errors import EngineArgumentError, EngineError, MissingExtraError
from eventinit.logs import log_event
from eventinit.owner import this_owner
from eventinit.ports import EngineRequest, RunningEngine
from eventinit.threads import run_in_thread

_NEEDED = ("vllm.engine.arg_utils", "vllm.engine.async_llm_engine")
_POLL_INTERVAL_S = 0.5
_EXIT_CODE_TIMEOUT_S = 5.0
_PATIENCE_S = 30.0
"""How long a cancelled caller waits for a thread that has been told to give up."""


class VLLMEngine:
    """Starts vLLM engines, one at a time in a process."""

    async def argument_names(self) -> frozenset[str]:
        """Import vLLM in a thread and return the names of its engine arguments."""
        return argument_names(await _load())

    async def launch(self, request: EngineRequest) -> RunningEngine:
        """Start an engine; when that fails or is cancelled no process or file of it is left.

        Raises:
            EngineArgumentError: vLLM does not know an argument or refuses its value.
            EngineError: The engine did not start for another reason.
            MissingExtraError: vLLM is not installed.
        """
        start = _Start(request, await _load())
        return await run_in_thread(
            start.run,
            name="start of the engine",
            hurry=start.given_up,
            patience_s=_PATIENCE_S,
            undo=lambda running: running.end(0),  # it came up in the very moment of the cancellation
        )


class _Start:
    """One start of an engine, as a worker thread goes through it."""

    def __init__(self, request: EngineRequest, vllm: Any) -> None:
        self.given_up = threading.Event()
        self._request = request
        self._vllm = vllm

    def run(self) -> "VLLMRunningEngine":
        """Start the engine or leave nothing of it."""
        with process_environment({}, given_up=self.given_up):
            folder = EngineFolder(this_owner(self._request.start_id))
            spawned = SpawnedProcesses()
            try:
                with (
                    process_environment(self._variables(), folder.path),
                    end_trees_when(self.given_up.is_set, spawned.running, folder.record),
                ):
                    engine = self._boot()
                return VLLMRunningEngine(engine, spawned.running(), folder)
            except BaseException:
                end_trees(spawned.running())
                folder.remove()
                raise

    def _variables(self) -> dict[str, str]:
        # The engine's core is a process of its own, and would start a cluster of its own without the address.
        address = self._request.cluster_address
        return {} if address is None else {"RAY_ADDRESS": address}

    def _boot(self) -> Any:
        self._go_on()
        arguments = self._arguments()
        config = self._config(arguments)
        self._go_on()
        try:
            engine = self._vllm.AsyncLLMEngine.from_vllm_config(
                config,
                enable_log_requests=arguments.enable_log_requests,
                disable_log_stats=arguments.disable_log_stats,
            )
        except Exception as error:
            raise self._core_error(error) from error
        if self.given_up.is_set():
            engine.shutdown(timeout=0)
        self._go_on()
        return engine

    def _go_on(self) -> None:
        if self.given_up.is_set():
            raise GivenUpError

    def _arguments(self) -> Any:
        arguments = dict(self._request.arguments)
        if self._request.on_cluster and arguments.get("distributed_executor_backend") is None:
            arguments["distributed_executor_backend"] = "ray"
        refuse_unknown(arguments, argument_names(self._vllm))
        try:
            return self._vllm.AsyncEngineArgs(**arguments)
        except (TypeError, ValueError) as error:
            raise self._argument_error(error) from error

    def _config(self, arguments: Any) -> Any:
        try:
            config = arguments.create_engine_config()
        except (TypeError, ValueError) as error:
            raise self._argument_error(error) from error
        except Exception as error:
            self._go_on()
            raise EngineError(
                f"vLLM could not make its configuration: {short(error)}; look at its log above and at the model's files"
            ) from error
        parallel = config.parallel_config
        if self._request.on_cluster or parallel.distributed_executor_backend == "ray":
            parallel.placement_group = self._request.group
            parallel.ray_runtime_env = runtime_env(parallel.ray_runtime_env, self._request.runtime_env)
        return config

    def _argument_error(self, error: Exception) -> EngineArgumentError:
        given = ", ".join(sorted(self._request.arguments))
        return EngineArgumentError(
            f"vLLM refuses the engine arguments ({given}): {short(error)};"
            " change them in engine_kwargs or extra_init_kwargs"
        )

    def _core_error(self, error: Exception) -> EngineError:
        return EngineError(
            f"vLLM's engine did not start with the model {self._request.arguments.get('model')!r}: {short(error)}; its"
            " processes have written the reason to the log above, vLLM passes nothing more on (they also import your"
            " main module, so it must start nodes only below `if __name__ == '__main__':`)"
        )


class VLLMRunningEngine:
    """An ``AsyncLLMEngine`` with the processes and the folder that belong to it."""

    def __init__(self, engine: Any, cores: list[psutil.Process], folder: EngineFolder) -> None:
        self.engine: Any = engine
        self._cores = cores
        self._processes = with_descendants(cores)
        self._children = [c for c in multiprocessing.active_children() if c.pid in {core.pid for core in cores}]
        self._folder = folder
        folder.record(self._processes)
        self._shared_memory = shared_memory_of(self._processes)
        self._hurry = threading.Event()
        self._turn = threading.Lock()
        self._stopped = False

    async def wait_until_dead(self) -> str:
        """Return why the engine ended when one of its core processes ends by itself."""
        while all(is_running(core) for core in self._cores):  # noqa: ASYNC110 - the end of a process sets no event
            await anyio.sleep(_POLL_INTERVAL_S)
        ended = next(core for core in self._cores if not is_running(core))
        return f"the engine core (process {ended.pid}) {_ending(await self._exit_code(ended.pid))}"

    async def _exit_code(self, pid: int) -> int | None:
        child = next((child for child in self._children if child.pid == pid), None)
        with anyio.move_on_after(_EXIT_CODE_TIMEOUT_S):  # it is known a little after the end
            while child is not None and child.exitcode is None:  # noqa: ASYNC110 - it sets no event
                await anyio.sleep(_POLL_INTERVAL_S / 10)
        return None if child is None else child.exitcode

    async def stop(self, grace_s: float) -> None:
        """End the engine and all its processes: politely at first, by force after ``grace_s`` seconds.

        A caller that is cancelled meanwhile has them ended by force at once, and still waits for that.
        """
        self._end_idle_reader()
        await run_in_thread(
            partial(self.end, grace_s),
            name="stop of the engine",
            hurry=self._hurry,
            patience_s=_PATIENCE_S,
            even_if_cancelled=True,
        )

    def _end_idle_reader(self) -> None:
        # vLLM's task that reads outputs takes the orderly end of the core for a failure and logs a traceback. While
        # requests are running it has to: they learn of the end from it.
        reader = self.engine.output_handler
        if reader is not None and not self.engine.get_num_unfinished_requests():
            reader.cancel()

    def end(self, grace_s: float) -> None:
        """Do as ``stop``, and block until it is done."""
        deadline = time.monotonic() + grace_s
        with self._turn:
            if self._stopped:
                return
            processes = {*self._processes, *with_descendants(self._cores)}
            with end_trees_when(lambda: self._hurry.is_set() or time.monotonic() > deadline, lambda: processes):
                self._shut_down(grace_s)
            self._report_survivors(end_trees(processes))
            remove_shared_memory(self._shared_memory)
            self._folder.remove()
            self._stopped = True

    def _shut_down(self, grace_s: float) -> None:
        try:
            self.engine.shutdown(timeout=grace_s)
        except Exception as error:  # noqa: BLE001 - the processes are ended by force next
            log_event(logging.ERROR, "engine_shutdown_failed", error)

    def _report_survivors(self, survivors: list[psutil.Process]) -> None:
        if survivors:
            log_event(logging.ERROR, "engine_processes_left", pids=[process.pid for process in survivors])


def load_vllm() -> Any:
    """Import what an engine needs of vLLM, which takes seconds, and return it.

    Raises:
        MissingExtraError: vLLM is not installed.
        EngineError: It is installed and cannot be imported.
    """
    try:
        vllm = importlib.import_module("vllm")
        for name in _NEEDED:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise _import_error(error) from error
        raise MissingExtraError("vllm", "vllm") from error
    except Exception as error:
        raise _import_error(error) from error
    return vllm


async def _load() -> Any:
    # An import cannot be interrupted: a cancelled caller leaves the thread to it, which holds nothing of ours.
    return await anyio.to_thread.run_sync(load_vllm, abandon_on_cancel=True)


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "has ended"
    if exit_code < 0:
        return f"was killed by signal {-exit_code}"
    return f"has ended with exit code {exit_code}"


def _import_error(error: Exception) -> EngineError:
    return EngineError(
        f"vLLM is installed and cannot be imported: {type(error).__name__}: {error};"
        " its own installation guide names the versions of torch that it takes"
    )
