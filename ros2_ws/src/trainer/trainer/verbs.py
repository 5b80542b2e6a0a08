"""What `./run` has of this package: train METHOD, eval, compress. A verb's own modules are imported when it runs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ant_rl_core.settings import ArgumentError, split
from ant_rl_core.verbs import Verb

_EVALUATE = ("eval needs a policy bundle, a path or the name of a shipped one: ./run eval BUNDLE [BUNDLE …] "
             "key:=value …")
_COMPRESS = ("compress needs a policy bundle, a path or the name of a shipped one: ./run compress BUNDLE [METHOD …] "
             "key:=value …")


def _use_one_thread_for_products() -> None:
    """Of numpy, before it is imported: for the small ones of actors, to wake another takes longer than they do."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _train(words: Sequence[str]) -> int:
    _use_one_thread_for_products()
    from trainer.runs import train_config
    algorithm, *rest = words
    if algorithm == "--list":
        print(train_config.list_text())
        return 0
    train_config.method_named(algorithm)  # TensorFlow takes seconds to import: a wrong name is told before
    from trainer.runs import train
    return train.main(algorithm, split(rest))


def _train_help(words: Sequence[str]) -> str:
    from trainer.runs import train_config
    return train_config.list_text() if words[0] == "--list" else train_config.help_text(words[0])


def _evaluate(words: Sequence[str]) -> int:
    _bundle(words, _EVALUATE)
    from trainer.runs import evaluate
    return evaluate.main([word for word in words if ":=" not in word], split(word for word in words if ":=" in word))


def _evaluate_help(words: Sequence[str]) -> str:
    from trainer.trials.evaluate_config import help_text
    return help_text()


def _compress(words: Sequence[str]) -> int:
    bundle, rest = _bundle(words, _COMPRESS)
    from trainer.compress import command
    return command.main(bundle, [word for word in rest if ":=" not in word],
                        split(word for word in rest if ":=" in word))


def _compress_help(words: Sequence[str]) -> str:
    from trainer.compress import command
    return command.help_text()


def _bundle(words: Sequence[str], sentence: str) -> tuple[str, Sequence[str]]:
    """The bundle, which comes first, and the words behind it; ArgumentError with `sentence` where there is none."""
    if not words or ":=" in words[0]:
        raise ArgumentError(sentence)
    return words[0], words[1:]


def show_lines_only() -> None:
    """What --quiet does: progress as lines, on a terminal too."""
    from trainer.runs import progress
    progress.show_lines_only()


TRAIN = Verb("train ALGORITHM", "learn in one process, for speed, e.g. ./run train ppo seed:=1; methods: ./run train "
             "--list", 10, _train, _train_help, show_lines_only)
EVALUATE = Verb("eval BUNDLE", "evaluate a policy bundle in one process, e.g. ./run eval default episodes:=20 "
                "seed:=1000", 20, _evaluate, _evaluate_help, show_lines_only)
COMPRESS = Verb("compress BUNDLE", "smaller variants of a policy, and what each gains and costs, e.g. ./run compress "
                "default int8", 30, _compress, _compress_help)
