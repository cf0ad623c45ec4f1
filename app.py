"""Entry point of `cdk synth` and `cdk deploy`; cdk.json names it."""

from stacks.application import create_app

create_app().synth()
