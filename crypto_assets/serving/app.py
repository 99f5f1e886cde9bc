"""The HTTP interface. Routes parse, ask the service, and send; every refusal is one JSON object and never a stack trace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from crypto_assets import __version__
from crypto_assets.market.errors import CryptoAssetsError, SchemaError, StaleDataError
from crypto_assets.market.time import HORIZONS
from crypto_assets.serving import records, schemas
from crypto_assets.serving.answers import moment
from crypto_assets.serving.batching import BusyError
from crypto_assets.serving.guard import Guard
from crypto_assets.serving.page import PAGE, POLICY
from crypto_assets.serving.security import Keys, Limiter
from crypto_assets.serving.service import Service, UnknownSymbolError
from crypto_assets.serving.sockets import follow

log = logging.getLogger(__name__)
REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": schemas.Problem, "description": "The key is missing or wrong."},
    404: {"model": schemas.Problem, "description": "Not served; `near` names coins that are."},
    413: {"model": schemas.Problem, "description": "The body is too large."},
    422: {"model": schemas.Problem, "description": "Malformed; `detail` says where."},
    429: {"model": schemas.Problem, "description": "Too many questions; `retry_after` says when."},
    503: {"model": schemas.Problem, "description": "Nothing fresh enough to serve; `age_seconds` says how old."},
}
ABOUT = """Calibrated forecasts of crypto returns, one an hour and coin, with their uncertainty.

Answers about the closed hour are computed once and are the same for everybody until the next hour closes. A row of features may
be sent in place of the coin's last one. Every answer has an id that leads back to the model, the features and the raw rows."""
Identifier = Annotated[str, PathParameter(pattern="^[0-9a-f]{6,20}$", description="Or its beginning.")]
SymbolQuery = Annotated[str, Query(min_length=1, max_length=40, description="For example BTC.")]


def create_app(
    service: Service, keys: Keys | None = None, limiter: Limiter | None = None, hosts: list[str] | None = None
) -> FastAPI:
    """The application around a service, which it starts and closes. `hosts`: names it answers to (default: this machine)."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="crypto_assets",
        version=__version__,
        description=ABOUT,
        lifespan=lifespan,
        redoc_url=None,
        docs_url=None,
        redirect_slashes=False,
    )
    app.state.service, app.state.keys = service, keys or Keys()
    _errors(app)
    _predictions(app, service)
    _about(app, service)
    _sockets(app, service)
    app.add_middleware(Guard, keys=app.state.keys, limiter=limiter or Limiter(), metrics=service.metrics)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts or ["127.0.0.1", "localhost", "[::1]"])
    return app


def _predictions(app: FastAPI, service: Service) -> None:
    @app.post("/predict", response_model=schemas.Prediction, responses=REFUSALS, tags=["predictions"])
    async def predict(asked: schemas.PredictRequest) -> Response:
        """One coin and horizon: about the hour that closed last, or about a row that is sent."""
        if asked.features is None:
            return Response(service.body(asked.symbol, asked.timeframe), media_type="application/json")
        return JSONResponse(await service.asked(asked.symbol, asked.timeframe, asked.features))

    @app.post("/predictions", response_model=list[schemas.Prediction], responses=REFUSALS, tags=["predictions"])
    async def predict_many(asked: schemas.PredictManyRequest) -> Response:
        """Several at once, in the order of the questions; one that cannot be answered refuses all."""
        found = await asyncio.gather(*(predict(one) for one in asked.requests))
        return Response(b"[" + b",".join(bytes(f.body) for f in found) + b"]", media_type="application/json")

    @app.get("/predictions", response_model=schemas.Predictions, responses=REFUSALS, tags=["predictions"])
    async def predictions(timeframe: schemas.Timeframe | None = None) -> Response:
        """Every coin, of one horizon or of all."""
        published = service.published
        chosen = [body for (_, t), body in published.bodies.items() if timeframe in (None, t)]
        head = json.dumps({"at": moment(published.at), "age_seconds": service.age().total_seconds()})[:-1].encode()
        return Response(head + b',"predictions":[' + b",".join(chosen) + b"]}", media_type="application/json")

    @app.get("/predictions/{prediction_id}", response_model=schemas.PastPrediction, responses=REFUSALS, tags=["predictions"])
    async def prediction(prediction_id: Identifier) -> Any:
        """A prediction that was served, by its id."""
        found = await run_in_threadpool(records.find, service.lake.root, prediction_id)
        if found is None:
            raise HTTPException(404, f"no prediction {prediction_id[:40]!r} was served")
        return {**found["answer"], "served_at": found["served_at"]}

    @app.get("/history", response_model=schemas.History, responses=REFUSALS, tags=["predictions"])
    async def history(
        symbol: SymbolQuery, timeframe: schemas.Timeframe = "1h", limit: Annotated[int, Query(ge=1, le=1000)] = 48
    ) -> Any:
        """What was served about a coin's closed hours, oldest first."""
        coin = service.known(symbol)
        rows = await run_in_threadpool(records.history, service.lake.root, coin, timeframe, limit)
        return {"symbol": coin, "timeframe": timeframe, "predictions": rows}

    @app.get("/features", response_model=schemas.FeatureRow, responses=REFUSALS, tags=["predictions"])
    async def features(symbol: SymbolQuery) -> Any:
        """The coin's row of the closed hour, as it may be sent back, changed, to POST /predict."""
        published, coin = service.published, service.known(symbol)
        closes = list(published.closes.get(coin, []))
        return {"symbol": coin, "at": published.at, "features": published.last_row(coin), "closes": closes}


def _about(app: FastAPI, service: Service) -> None:
    @app.get("/supported_coins", response_model=schemas.Coins, responses=REFUSALS, tags=["about"])
    async def supported_coins() -> Any:
        """What may be asked for."""
        return {"symbols": service.symbols(), "timeframes": list(HORIZONS)}

    @app.get("/model", response_model=schemas.ModelInfo, responses=REFUSALS, tags=["about"])
    async def model() -> Any:
        """The champion: its members, what they run in, where it comes from, how it did out of sample."""
        published = service.published
        bundle = published.runtime.bundle
        said = bundle.describe()
        more = {"number": published.number, "columns": list(bundle.columns), "engines": published.runtime.engines()}
        return {**said, **more, "calibration": await run_in_threadpool(calibration, service.lake.root, bundle.name)}

    @app.get("/health", response_model=schemas.Health, tags=["about"])
    async def health() -> Any:
        """Always 200 while the process lives."""
        at = service.served_at()
        age = None if at is None else service.age().total_seconds()
        return {"status": "waiting" if service.problem else "ok", "problem": service.problem, "at": at, "age_seconds": age}

    @app.get("/ready", response_model=schemas.Health, responses={503: REFUSALS[503]}, tags=["about"])
    async def ready() -> Any:
        """200 when forecasts are served that are fresh enough."""
        published = service.published
        return {"status": "ok", "problem": service.problem, "at": published.at, "age_seconds": service.age().total_seconds()}

    @app.get("/metrics", response_class=Response, tags=["about"])
    async def metrics() -> Response:
        """Prometheus: the server's own, and drift, live accuracy and the retraining loop as monitoring left them."""
        service.measure()
        return Response(await asyncio.to_thread(service.metrics.text), media_type="text/plain; version=0.0.4")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


def _sockets(app: FastAPI, service: Service) -> None:
    @app.websocket("/ws/predictions")
    async def predictions(socket: WebSocket) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            await follow(socket, service, app.state.keys)


def calibration(lake: Path, name: str) -> dict[str, Any]:
    """Calibration error, accuracy and rows of the champion's combination in the lake's last report, by horizon."""
    path = lake / "backtests" / "evaluation.json"
    if not path.exists():
        return {}
    report = json.loads(path.read_text())
    found = {}
    for target, models in report.get("direction", {}).items():
        row = models.get(name)
        if target in HORIZONS and row and row.get("ece") is not None:
            days = {"from": report["data"]["from"], "to": report["data"]["to"]}
            found[target] = {k: row[k] for k in ("ece", "accuracy", "n", "log_loss_skill")} | days
    return found


def _errors(app: FastAPI) -> None:
    def refusal(status: int, error: str, message: str, **more: Any) -> JSONResponse:
        headers = {"Retry-After": str(int(more["retry_after"]) + 1)} if more.get("retry_after") is not None else None
        return JSONResponse({"error": error, "message": message, **more}, status, headers)

    def on(kind: type[Exception], made: Callable[[Any], JSONResponse]) -> None:
        async def handler(request: Request, error: Exception) -> JSONResponse:
            return made(error)

        app.add_exception_handler(kind, handler)

    def invalid(error: Any) -> JSONResponse:
        said = [{"where": ".".join(map(str, e["loc"]))[:200], "message": e["msg"]} for e in error.errors()]
        return refusal(422, "malformed", "; ".join(f"{e['where']}: {e['message']}" for e in said)[:2000], detail=said[:50])

    def stale(error: Any) -> JSONResponse:
        service: Service = app.state.service
        return refusal(503, "stale", str(error), age_seconds=service.age().total_seconds(), retry_after=30.0)

    def failed(error: Any) -> JSONResponse:
        log.error("a request failed", exc_info=error)
        return refusal(500, "internal", "an error of the server; it is in its log")

    on(RequestValidationError, invalid)
    on(UnknownSymbolError, lambda e: refusal(404, "unknown_symbol", str(e), near=e.near))
    on(SchemaError, lambda e: refusal(422, "malformed", str(e)))
    on(StaleDataError, stale)
    on(BusyError, lambda e: refusal(503, "busy", "too many rows wait to be answered", retry_after=1.0))
    on(HTTPException, lambda e: refusal(e.status_code, "refused", str(e.detail)))
    on(CryptoAssetsError, lambda e: refusal(503, "unavailable", str(e), retry_after=30.0))
    on(Exception, failed)
