"""Telemetry in a program of one's own: by its providers, and with nothing made for it."""

import subprocess
import sys

PROGRAM = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from netra_apex import AgentRegistry, BaseAgent, Runtime, Settings, UserExecutionContext

spans, own = InMemorySpanExporter(), TracerProvider()
own.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(own)

class Greeter(BaseAgent):
    name = "greeter"

    async def run(self, task, scope):
        return task

async def main():
    settings = Settings(home="home", telemetry="{telemetry}")
    async with Runtime(AgentRegistry([Greeter]), settings) as runtime:
        with trace.get_tracer("mine").start_as_current_span("mine"):
            async with runtime.engines.for_user(UserExecutionContext.new("ada")) as engine:
                await engine.run("greeter", "hello")

asyncio.run(main())
assert trace.get_tracer_provider() is own
found = {{span.name: span for span in spans.get_finished_spans()}}
print(*found)
if "invoke_agent greeter" in found:
    assert found["invoke_agent greeter"].parent.span_id == found["mine"].context.span_id
"""


def told(tmp_path, telemetry):
    program = PROGRAM.format(telemetry=telemetry)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_program_s_own_provider_is_told_under_the_span_that_is_under_way(tmp_path):
    assert told(tmp_path, "on") == "invoke_agent greeter mine"


def test_a_program_s_own_provider_is_told_nothing_unless_that_is_wanted(tmp_path):
    assert told(tmp_path, "off") == "mine"


def test_off_imports_neither_the_sdk_nor_an_exporter(tmp_path):
    program = (
        "import sys, netra_apex.server.serve, netra_apex.stream.telemetry as t; from netra_apex import Settings\n"
        "with t.exporting(Settings()): t.arrivals(Settings()); t.log_processor(Settings())\n"
        "print([each for each in sys.modules if each.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
