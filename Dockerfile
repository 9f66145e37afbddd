# Server, workers and command line in one image. See docs/deployment.md.
FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY src src
COPY examples examples
RUN grep -oE '^[A-Za-z0-9._-]+==[^ ;\\]+' requirements.lock > constraints.txt \
    && python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt \
       ".[server,client,postgres,uvloop,processes,tracing]"

FROM python:3.13-slim
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 10001 tasker
USER tasker
WORKDIR /work
EXPOSE 8080
ENTRYPOINT ["tasker"]
CMD ["server", "--host", "0.0.0.0"]
