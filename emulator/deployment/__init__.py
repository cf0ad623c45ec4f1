"""A cloud assembly deployed as `cdk deploy` would."""
