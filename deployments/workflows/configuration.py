"""Turns off every optional capability of the engine. The switches are process-wide: call `configure` before any
other module of the engine is imported."""


def configure() -> None:
    """Switch off code, files, environment, downloads and remote execution. Raises ImportError without the extra."""
    from roboflow_workflows.configuration import (
        EngineConfiguration,
        FontsConfiguration,
        PlatformConfiguration,
        RemoteExecutionConfiguration,
        WorkflowsConfiguration,
        configure_process,
    )

    nowhere = "http://127.0.0.1:9"
    configure_process(
        WorkflowsConfiguration(
            engine=EngineConfiguration(
                allow_custom_python_execution=False,
                allow_blocks_accessing_local_storage=False,
                allow_blocks_accessing_environmental_variables=False,
                allow_webhook_sink_to_non_global_addresses=False,
                allow_postgresql_sink_to_non_global_addresses=False,
                allow_kafka_sinks_user_provided_bootstrap_servers=False,
                allow_mqtt_blocks_user_provided_host=False,
                max_inner_workflow_depth=0,
                max_inner_workflow_count=0,
            ),
            remote=RemoteExecutionConfiguration(
                api_target="self-hosted",
                local_inference_api_url=nowhere,
                inner_workflow_remote_target=nowhere,
                openai_compatible_allowed_base_urls=(),
            ),
            platform=PlatformConfiguration(api_base_url=nowhere, offline_mode=True),
            fonts=FontsConfiguration(allow_download=False),
        )
    )
