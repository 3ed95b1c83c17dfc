# The image of a project: `docker build -t my-splice .` beside splice.toml, or base your own on it.
#
#   docker run -p 8080:8080 -v splice:/srv/splice/.splice my-splice          serves it
#   docker run my-splice release list                                       any other command
#
# SageMaker runs it as `docker run IMAGE serve`, asks GET /ping and POST /invocations on port 8080:
# see docs/protocols.md, also for what it has to be told about keys.
FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip wheel --no-cache-dir --wheel-dir /wheels ".[onnx,postgres,parquet,redis,masking,otel,grpc,kafka]"

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels \
        "splice-ai[onnx,postgres,parquet,redis,masking,otel,grpc,kafka]" \
    && useradd --create-home --uid 10001 splice \
    && mkdir -p /srv/splice && chown splice /srv/splice
WORKDIR /srv/splice
USER splice
ENV PYTHONUNBUFFERED=1 \
    SPLICE_SERVER_HOST=0.0.0.0 \
    SPLICE_SERVER_PORT=8080
EXPOSE 8080
ENTRYPOINT ["splice"]
CMD ["serve"]
