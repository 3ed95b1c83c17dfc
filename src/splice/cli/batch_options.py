"""What `splice batch` takes."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

Name: TypeAlias = Annotated[str, typer.Argument(help="Name of the integration.")]
Source: TypeAlias = Annotated[
    str,
    typer.Argument(help="Requests: a .csv, .jsonl or .parquet; a table by its URL; kafka:TOPIC."),
]
Target: TypeAlias = Annotated[str, typer.Option("--out", "-o", help="Replies: a file or a table.")]
Release: TypeAlias = Annotated[
    int | None, typer.Option(help="Release to ask; the live one if left out.")
]
Concurrency: TypeAlias = Annotated[
    int | None, typer.Option(min=1, max=4096, help="Rows asked at once.")
]
IgnoreExtra: TypeAlias = Annotated[
    bool, typer.Option("--ignore-extra", help="Leave out columns that are not in the request.")
]
Overwrite: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file that is there.")
]
Append: TypeAlias = Annotated[
    bool, typer.Option("--append", help="Add to a table that has rows of other jobs.")
]
Query: TypeAlias = Annotated[
    str, typer.Option(help="A SELECT for the rows, instead of ?table= in the URL.")
]
FromOffset: TypeAlias = Annotated[
    str, typer.Option(help="Kafka: the first offset, of all partitions, or PARTITION:OFFSET,…")
]
ToOffset: TypeAlias = Annotated[
    str, typer.Option(help="Kafka: the first offset that is not read; written as above.")
]
Since: TypeAlias = Annotated[
    str, typer.Option(help="Kafka: events from this time on (ISO 8601; UTC if it names no zone).")
]
Until: TypeAlias = Annotated[str, typer.Option(help="Kafka: events before this time.")]
Engine: TypeAlias = Annotated[
    Literal["local", "ray"], typer.Option(help="Who asks: this process, or workers of Ray Data.")
]
Workers: TypeAlias = Annotated[
    int | None, typer.Option(min=1, max=256, help="Ray: processes; one a core if left out.")
]
Offline: TypeAlias = Annotated[
    bool,
    typer.Option("--offline", help="By the provider's batch endpoint: within a day, for less."),
]
Wait: TypeAlias = Annotated[
    bool, typer.Option("--wait", help="Offline: until every row is answered.")
]
Fallback: TypeAlias = Annotated[
    bool, typer.Option(help="Offline: rows that fail there go on to the next route, online.")
]
Status: TypeAlias = Annotated[
    bool, typer.Option("--status", help="Offline: say how it stands, and change nothing.")
]
Cancel: TypeAlias = Annotated[
    bool, typer.Option("--cancel", help="Offline: end what the provider has not answered yet.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
