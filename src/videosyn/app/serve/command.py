"""`videosyn serve`: checks what can be checked, then listens until it is stopped. Next: `wire.py`, `service.py`."""

from __future__ import annotations

import logging
import socket
import sys

from videosyn.app.serve.options import LOOPBACK, ServeOptions
from videosyn.core.errors import UserError


def run(options: ServeOptions) -> None:
    """Serves until SIGINT or SIGTERM. Raises UserError where it cannot begin."""
    try:
        import fastapi  # noqa: F401
        import httptools  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError(f"serve needs {error.name}: pip install 'videosyn[serve]'") from error
    from videosyn.app.serve.api import make_app
    from videosyn.app.serve.service import Service
    from videosyn.app.serve.wire import BoundedProtocol

    _check_devices(options.devices)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    listener = _listener(options)
    service = Service(options)
    address = f"http://{_shown(options.host)}:{listener.getsockname()[1]}"
    where = f"studio {address}/studio/, API {address}/v1/" if options.studio else f"API {address}/v1/"
    print(f"videosyn serves {', '.join(service.models)}: {where}", file=sys.stderr, flush=True)
    if options.insecure and options.token() is None and options.host not in LOOPBACK:
        print("videosyn: no token is asked for: whoever reaches this address may use it", file=sys.stderr)
    config = uvicorn.Config(
        make_app(options, service),
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=3,
        timeout_keep_alive=30,
        limit_concurrency=1000,
        proxy_headers=False,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _check_devices(names: tuple[str, ...]) -> None:
    """A UserError for one that is not here: its worker would start, and fail every job."""
    if named := [name for name in names if name not in ("auto", "cpu")]:
        from videosyn.core.runtime import pick_device  # torch, whose import takes as long as the rest of the start

        for name in named:
            pick_device(name)


def _listener(options: ServeOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
    except OSError as error:
        listener.close()
        raise UserError(
            f"cannot listen on {options.host}:{options.port}: {error.strerror or error}: use another --port"
        ) from error
    listener.listen(2048)
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
