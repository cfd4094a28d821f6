# The all-in-one service. Secrets and data live in the volume /var/lib/sealdrop, never in the image.
FROM python:3.13-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends gnupg tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/sealdrop --shell /usr/sbin/nologin sealdrop
COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY failpoints /src/failpoints
COPY manifests /src/manifests
COPY keystore /src/keystore
COPY stores /src/stores
COPY ingest /src/ingest
RUN pip install --no-cache-dir --disable-pip-version-check -c /src/constraints.txt /src && rm -rf /src
USER sealdrop
WORKDIR /var/lib/sealdrop
VOLUME /var/lib/sealdrop
EXPOSE 2222
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "sealdrop"]
CMD ["serve"]
