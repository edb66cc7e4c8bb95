# Airflow with this provider, for docker-compose.yaml.
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2

FROM ${AIRFLOW_IMAGE} AS wheel
WORKDIR /opt/airflow/provider
COPY constraints.txt LICENSE README.md pyproject.toml ./
COPY airflow_paginated ./airflow_paginated
RUN PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    pip wheel --no-cache-dir --no-deps --wheel-dir /opt/airflow/wheel .

FROM ${AIRFLOW_IMAGE}
COPY --from=wheel /opt/airflow/wheel /opt/airflow/wheel
# Airflow's Celery provider (3.26.0) does not import with Celery 5.7; the image released with Airflow's own constraints
# holds an older one already, an image that was put together from the newest of everything does not.
RUN pip install --no-cache-dir "celery<5.7"
# What the image holds now stays as it is: its own versions are the constraints, so that the install adds the provider or
# fails, and the Airflow that was released together stays together.
RUN pip list --format=freeze > /opt/airflow/image-constraints.txt \
    && pip install --no-cache-dir --constraint /opt/airflow/image-constraints.txt /opt/airflow/wheel/*.whl
# A new named volume takes over owner and mode of the folder that it covers.
RUN mkdir -p /opt/airflow/datasets /opt/airflow/logs
