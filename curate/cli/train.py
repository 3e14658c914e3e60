"""`curate train`: a student trained on shards, its progress shown, its accuracy before and after; `train teacher`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.options import Command, recipe_argument, set_option

if TYPE_CHECKING:
    from curate.train.config import TrainRecipe

STOPPED = 130


class Trainer(Command):
    """The command of a recipe, shown as `curate train`."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        parts = self.collect_usage_pieces(ctx)
        formatter.write_usage(ctx.parent.command_path, " ".join(parts))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([("teacher", "Fit the small teacher of 4D perception alone."),
                                ("latents", "Store a teacher's latents in the shards: training need not run it."),
                                ("rft", "Reward a trained student for right answers (GRPO).")])


class Group(click.Group):
    """`curate train RECIPE` without a word between; `curate train teacher RECIPE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["student", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Group, short_help="Train a student on shards; 4D perception distilled into it.")
def command() -> None:
    pass


@command.command("student", cls=Trainer, hidden=True)
@recipe_argument
@click.option("--out", required=True, metavar="RUN", type=click.Path(path_type=Path, file_okay=False),
              help="Folder of the run: log, pictures, checkpoints, the trained student, report.")
@set_option
@click.option("--resume", is_flag=True, help="Go on from RUN's last checkpoint, to the same bits.")
@click.option("--steps", type=click.IntRange(1), help="Steps of each stage, instead of the recipe's.")
@click.option("--ray", "workers", type=click.IntRange(1), metavar="N", help="Train in N workers of Ray Train.")
@click.option("--address", metavar="auto|ray://HOST:10001", help="Ray cluster to train on; default: one of its own.")
@click.option("--quiet", is_flag=True, help="No progress, no tables; errors only.")
@click.pass_context
def student(ctx: click.Context, recipe: Path, out: Path, overrides: tuple[str, ...], resume: bool, steps: int | None,
            workers: int | None, address: str | None, quiet: bool) -> None:
    """Train a student on question shards, beside or without a teacher of 4D perception.

    RUN gets log.jsonl (every term of the loss), tensorboard/, pictures/ (depth, flow and motion as the student
    perceives them), checkpoints/, eval-*.json, student/ (loads in transformers) and report.md. Ctrl-C and SIGTERM end
    the step under way, write a checkpoint and exit with 130; --resume goes on.

    \b
    Examples:
      curate train recipes/p4d_tiny.yaml --out out/p4d                 # learns within minutes on a CPU
      curate train recipes/p4d_tiny.yaml --out out/sft --set strategy.name=sft
      curate train recipes/p4d_tiny.yaml --out out/p4d --resume
      torchrun --nproc-per-node 8 -m curate train recipes/p4d_large.yaml --out RUN
      accelerate launch --config_file fsdp2.yaml -m curate train recipes/p4d_large.yaml --out RUN
      curate train recipes/p4d_large.yaml --out /shared/RUN --ray 16 --address auto
      tensorboard --logdir out/p4d/tensorboard

    \b
    Exit codes: 0 done, 2 bad request, 1 failure (also a loss that is nan), 130 stopped.
    """
    made = load(recipe, overrides, steps)
    with plain_errors(ctx):
        if workers is not None:
            from curate.train.ray_train import train_on_ray

            done = train_on_ray(made, out, workers, address=address, resume=resume)
        else:
            from curate.train.job import train

            done = train(made, out, resume=resume, console=None if quiet else _console())
    if done.stopped:
        click.echo(f"stopped after step {done.step}; `curate train {recipe} --out {out} --resume` goes on", err=True)
        ctx.exit(STOPPED)


@command.command("teacher", cls=Command)
@recipe_argument
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
              help="Folder of the teacher: teacher.safetensors and config.json.")
@set_option
@click.option("--steps", type=click.IntRange(1), help="Steps, instead of teacher.fit.steps.")
@click.option("--quiet", is_flag=True, help="Errors only.")
@click.pass_context
def teacher(ctx: click.Context, recipe: Path, out: Path, overrides: tuple[str, ...], steps: int | None,
            quiet: bool) -> None:
    """Fit the small teacher of 4D perception to the teacher tensors of the recipe's shards.

    `curate train RECIPE` does so by itself where the recipe names no teacher; fit it alone to use it in several runs.

    \b
    Examples:
      curate train teacher recipes/p4d_tiny.yaml --out out/teacher
      curate train recipes/p4d_tiny.yaml --out out/p4d --set teacher.path=out/teacher
    """
    if steps is not None:
        overrides = (*overrides, f"teacher.fit.steps={steps}")
    made = load(recipe, overrides)
    with plain_errors(ctx):
        from curate.train.job import fit_and_save

        fit_and_save(made, out, console=None if quiet else _console())


@command.command("latents", cls=Command)
@recipe_argument
@set_option
@click.option("--quiet", is_flag=True, help="Errors only.")
@click.pass_context
def latents(ctx: click.Context, recipe: Path, overrides: tuple[str, ...], quiet: bool) -> None:
    """Store the latents of the recipe's teacher in its shard sets, beside their teacher tensors.

    Training that reads them (strategy.p4d.latents: shards) does not run the teacher. They are of the frames that the
    recipe shows: other data.frames, data.image_size or data.marks want them stored anew. A set is replaced whole once
    all of its clips are encoded; `curate ask` and `curate compact` make it without them again.

    \b
    Examples:
      curate train teacher recipes/p4d_tiny.yaml --out out/teacher
      curate train latents recipes/p4d_tiny.yaml --set teacher.path=out/teacher
      curate train recipes/p4d_tiny.yaml --out out/p4d --set teacher.path=out/teacher --set strategy.p4d.latents=shards
    """
    made = load(recipe, overrides)
    with plain_errors(ctx):
        from curate.train.job import encode_and_store

        encode_and_store(made, console=None if quiet else _console())


@command.command("rft", cls=Command)
@recipe_argument
@click.option("--out", required=True, metavar="RUN", type=click.Path(path_type=Path, file_okay=False),
              help="Folder of the run: log.jsonl, tensorboard, the student in model/.")
@set_option
@click.option("--steps", type=click.IntRange(1), help="Steps, instead of rft.steps.")
@click.pass_context
def rft(ctx: click.Context, recipe: Path, out: Path, overrides: tuple[str, ...], steps: int | None) -> None:
    """Reinforce a student that was trained on cold starts (GRPO, by trl) with the rewards of curate.rewards.

    The recipe names the SFT checkpoint, the shards and the reward; docs/p4d.md has one.

    \b
    Examples:
      curate train rft my_rft.yaml --out out/rft
      curate train rft my_rft.yaml --out out/rft --set rft.reward=mllm4d-code --set rft.kl=0
    """
    from curate.recipe import load_checked
    from curate.train.rft_config import RftRecipe

    made = load_checked(recipe, (*overrides, *([f"rft.steps={steps}"] if steps else [])), RftRecipe)
    with plain_errors(ctx):
        from curate.train.rft import run

        done = run(made, out)
    click.echo(f"{done['steps']} steps on {done['questions']} questions; reward of the first and the last step: "
               f"{', '.join(f'{x:.3f}' for x in done['reward'])}\nstudent: {out / 'model'}")


def load(path: Path, overrides: tuple[str, ...], steps: int | None = None) -> TrainRecipe:
    """The checked recipe.

    Raises:
        RecipeError.
    """
    from curate.recipe import RecipeError, is_of_dataset, is_of_mixture, load_checked
    from curate.train.config import TrainRecipe

    if is_of_dataset(path):
        raise RecipeError(f"{path}: a recipe of a dataset; `curate run {path}` takes it, and recipes/p4d_tiny.yaml "
                          "shows one of training")
    if is_of_mixture(path):
        raise RecipeError(f"{path}: a recipe of a mixture; `curate mix {path} --out DIR` takes it, and a recipe of "
                          "training names DIR as its mixture")
    made = load_checked(path, overrides, TrainRecipe)
    if steps is None:
        return made
    stages = tuple(stage.model_copy(update={"steps": steps}) for stage in made.stages)
    return made.model_copy(update={"stages": stages, "optim": made.optim.model_copy(update={"steps": steps})})


class plain_errors:
    """What a user can change is said in a line, with exit code 2; --debug shows where it comes from."""

    def __init__(self, ctx: click.Context) -> None:
        self.ctx = ctx

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValueError) and type(error).__name__ != "RecipeError":
            from curate.recipe import RecipeError

            raise RecipeError(str(error)) from error


def _console() -> Any:
    from curate.cli.console import make_console

    return make_console()
