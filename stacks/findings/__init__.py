"""What cdk-nag finds in our templates and we leave as it is, each with its reason."""
