# One image for web, worker and migrate; compose.yaml builds it once and names it.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
RUN python -m venv /opt/taskyard
ENV PATH=/opt/taskyard/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements/base.txt requirements/
RUN pip install --require-hashes --only-binary :all: -r requirements/base.txt
# Further packages for the image, such as django-storages[s3].
ARG EXTRA_PACKAGES=
RUN if [ -n "$EXTRA_PACKAGES" ]; then pip install $EXTRA_PACKAGES; fi
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src src
RUN pip install --no-deps --no-build-isolation . \
    && python -m compileall -q /opt/taskyard

FROM ${PYTHON_IMAGE}
RUN groupadd --system --gid 10001 taskyard \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/taskyard --create-home taskyard \
    && mkdir --mode=0700 /run/taskyard-secrets /var/lib/taskyard-files \
    && chown taskyard:taskyard /run/taskyard-secrets /var/lib/taskyard-files
COPY --from=build /opt/taskyard /opt/taskyard
ENV PATH=/opt/taskyard/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=taskyard.server.settings \
    TASKYARD_HOME=/var/lib/taskyard \
    HOST=0.0.0.0 \
    PORT=8000
USER 10001:10001
WORKDIR /var/lib/taskyard
EXPOSE 8000
ENTRYPOINT ["taskyard"]
CMD ["web"]
