"""`curate publish`: a finished shard set into an object store."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.options import Command


@click.command(cls=Command, short_help="Put the shards of OUT into an object store, or another folder.")
@click.argument("out", metavar="OUT|SHARDS", type=click.Path(path_type=Path))
@click.argument("url", metavar="URL")
@click.option("--prune", is_flag=True, help="Afterwards remove every object under URL/sets that is not of this set, "
                                            "and uploads that never ended. Whoever still reads an older set fails.")
@click.option("--quiet", is_flag=True, help="No lines for files, no summary; errors only.")
def command(out: Path, url: str, prune: bool, quiet: bool) -> None:
    """Put the shards of OUT under an address, for readers anywhere.

    Readers see the older set or this one, never a mixture: files go to URL/sets/DIGEST, and URL/published.json is
    changed last, by one conditional put. One publisher at a time; a second one is refused and told who it is. After a
    kill the same command goes on: what is there and has the right checksum is not sent again.

    Credentials come from the environment (AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...;
    GOOGLE_APPLICATION_CREDENTIALS), never from the address. Needs 'curate4d[s3]' or 'curate4d[gs]'.

    \b
    Examples:
      curate publish out/mine s3://bucket/datasets/mine
      AWS_ENDPOINT_URL=http://minio:9000 curate publish out/mine s3://bucket/mine
      curate publish out/mine gs://bucket/mine --prune
      curate verify s3://bucket/datasets/mine
    """
    from curate.shards.remote import publish_set

    def tell(how: str, name: str) -> None:
        if not quiet:
            click.echo(f"{how:8} {name}")

    done = publish_set(out, url, prune=prune, on_file=tell)
    if not quiet:
        click.echo(str(done))
