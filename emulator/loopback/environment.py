"""The environment variables that point an AWS SDK at the embedded cloud and nowhere else."""

import os

REGION = "us-east-1"
ACCOUNT_ID = "000000000000"
_FOREIGN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")


def client_environment(endpoint_url: str) -> dict[str, str]:
    """What an SDK needs to reach the cloud at `endpoint_url`: dummy keys, region, no other account in reach."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ENDPOINT_URL_SAGEMAKER": endpoint_url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def process_environment(endpoint_url: str) -> dict[str, str]:
    """This process's environment with every way to a real account taken out and the cloud put in."""
    kept = {k: v for k, v in os.environ.items() if k not in _FOREIGN and not k.startswith("AWS_ENDPOINT_URL")}
    return kept | client_environment(endpoint_url)


def server_environment(port: int, temporary: str) -> dict[str, str]:
    """What ministack reads at import: loopback only, no extra listeners, nothing kept on disk but `temporary`."""
    return {
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "0",
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_STRICT": "0",
        "LAMBDA_WARM_TTL_SECONDS": "600",
        "AUTH": "false",
        "LOG_LEVEL": os.environ.get("TREELINE_CLOUD_LOG_LEVEL", "WARNING"),
        "TMPDIR": temporary,
    }
