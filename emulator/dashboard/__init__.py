"""The deployed dashboards as a page on loopback, drawn from the same bodies CloudWatch would draw."""
