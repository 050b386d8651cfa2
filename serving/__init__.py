"""Where models meet their callers: contract, client, releases, local server."""
