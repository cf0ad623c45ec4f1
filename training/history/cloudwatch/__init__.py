"""A fleet's past out of CloudWatch: discover, plan, fetch, audit."""
