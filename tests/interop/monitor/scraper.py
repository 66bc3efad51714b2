"""A real Prometheus that scrapes targets every second."""

import json
import os
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from servers import free_port


class Prometheus:
    """Scrapes these addresses, by job name."""

    def __init__(self, program, jobs, **more):
        self.directory = tempfile.TemporaryDirectory()
        config = os.path.join(self.directory.name, "prometheus.yml")
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [address]}], **more}
            for name, address in jobs.items()
        ]
        with open(config, "w", encoding="utf-8") as file:
            json.dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}, file)
        self.address = f"127.0.0.1:{free_port()}"
        with open(os.path.join(self.directory.name, "log"), "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    "--config.file=" + config,
                    "--storage.tsdb.path=" + self.directory.name + "/data",
                    "--web.listen-address=" + self.address,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ask(self, query):
        """Returns the series that a query selects, and their values."""
        url = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                result = json.load(answer)["data"]["result"]
        except (urllib.error.URLError, ConnectionError):
            return []
        return [(one["metric"], float(one["value"][1])) for one in result]

    def value(self, query):
        """Returns the only value of a query."""
        found = self.ask(query)
        return found[0][1] if len(found) == 1 else None

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.directory.cleanup()
