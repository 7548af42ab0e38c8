# The product without its embedded engines: docker-compose.yml and production bring the real ones.
FROM python:3.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/social
WORKDIR /source
COPY pyproject.toml constraints.txt ./
# The dependencies in a layer of their own: a change of our code must not fetch them again.
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['push'], sep='\n')" > dependencies.txt \
    && /opt/social/bin/pip install --requirement dependencies.txt --constraint constraints.txt
COPY . .
RUN /opt/social/bin/pip install --no-deps . && /opt/social/bin/pip check

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin social
COPY --from=build /opt/social /opt/social
ENV PATH="/opt/social/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["social"]
CMD ["web"]
