"""Code that tests, load tests, benchmarks and drills share: servers, clusters, waiting, figures. Not shipped."""
