"""The tiny student's tokenizer: words of the question templates, single digits, and bytes for all the rest.

Nothing is fitted: the vocabulary is the special tokens, 256 bytes, some signs, and `vocabulary.txt` with and without a
space before. A word that is not there is written in bytes, so that any text comes back as it was. Numbers are read
digit by digit. The list is kept as a file, not read from the templates, so that a new template changes no weights.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

IMAGE, PAD, START, END = "<image>", "<|pad|>", "<|im_start|>", "<|im_end|>"
SIGNS = "°²×–—’“”−√"
_PIECES = r" ?[A-Za-z]+|\d| ?[^\sA-Za-z\d]|\s"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def words() -> list[str]:
    """Words of the vocabulary, sorted."""
    return (Path(__file__).parent / "vocabulary.txt").read_text("utf-8").split()


def tiny_tokenizer(max_tokens: int = 8192) -> PreTrainedTokenizerFast:
    """The tokenizer, the same each time; `<|im_end|>` ends a turn and a generation.

    Args:
        max_tokens: longest sequence it is said to be for.
    """
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    def spelled(text: str) -> str:
        return "".join(piece for piece, _ in as_bytes.pre_tokenize_str(text))

    listed = [IMAGE, PAD, START, END, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    listed += [spelled(f"{space}{sign}") for sign in (*SIGNS, *map(chr, range(33, 127))) for space in ("", " ")]
    listed += [spelled(f"{space}{word}") for word in words() for space in ("", " ")]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(listed))}

    # No merges: a piece that is in the vocabulary is one token, any other falls apart into bytes.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"), as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, additional_special_tokens=[IMAGE, START],
        model_max_length=max_tokens, padding_side="right", clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE)
