"""The bundled prior's tokenizer and text encoder.

The encoder is taught first, in minutes, to say what a caption says: for every attribute a small attention
pool (a learned query, as in a cross-attention layer of the UNet) reads the token states and a linear head
names the value, "not said" included. That binds each colour to its garment before the costly part begins.
The heads are thrown away; the encoder goes on learning with the UNet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from vitruvian.diffusion.mini_model import (
    MAX_TOKENS,
    MiniShape,
    build_text_encoder,
    load_tokenizer,
    save_part,
)
from vitruvian.wardrobe.captions import ATTRIBUTES, compose
from vitruvian.wardrobe.checkpoints import MovingAverage, Progress
from vitruvian.wardrobe.subject import Split, sample_geometry, sample_outfit, split_of
from vitruvian.wardrobe.training import Budget, Log, Rhythm, Task, autocast, train

VOCABULARY = 1024
TEXT_START = "text_start"
"""Where the encoder is kept as it was before the UNet; `OUT/prior/text_encoder` goes on learning."""
_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
"""CLIP's own pattern, less its special tokens."""


def sample_captions(count: int, seed: int, split: Split = "train") -> list[tuple[str, dict[str, str]]]:
    """Captions with what they say, of people who are never rendered; half of them with view words."""
    rng = np.random.default_rng([seed, 77])
    found: list[tuple[str, dict[str, str]]] = []
    while len(found) < count:
        person = int(rng.integers(10**6, 10**9))
        if split_of(person) != split:
            continue
        geometry = sample_geometry(person)
        for _ in range(4):
            azimuth = float(rng.uniform(-180, 180)) if rng.random() < 0.6 else None
            kind = ("body", "upper", "face")[int(rng.choice(3, p=[0.5, 0.35, 0.15]))]
            told = compose(geometry, sample_outfit(geometry, rng), rng, azimuth, kind)
            found.append((told.text, told.said))
    return found[:count]


def train_tokenizer(texts: Iterable[str], folder: Path, size: int = VOCABULARY) -> None:
    """Byte-level BPE in CLIP's format (`vocab.json`, `merges.txt`): any UTF-8 text has tokens.

    The vocabulary is laid out as CLIP's: 256 bytes, the same ending a word, merges, start, end.
    """
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[str] = []
    for a, b in json.loads(tokenizer.to_str())["model"]["merges"]:
        if len(entries) >= size - 2:
            break
        merges.append(f"{a} {b}")
        entries.append(a + b)
    entries = [*dict.fromkeys(entries), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(
        json.dumps({entry: i for i, entry in enumerate(entries)}, ensure_ascii=False)
    )
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    special = {"bos_token": "<|startoftext|>"}
    special |= {f"{role}_token": "<|endoftext|>" for role in ("eos", "unk", "pad")}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_TOKENS,
        "do_lower_case": True,
        **special,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")


def tokenize(tokenizer: Any, texts: list[str]) -> Int[Tensor, "N L"]:
    """Token ids, padded and cut to the encoder's length."""
    return tokenizer(
        texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids


class AttributeHeads(nn.Module):
    """Reads every attribute from the token states; only for training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(ATTRIBUTES), width) * width**-0.5)
        self.keys, self.values = nn.Linear(width, width), nn.Linear(width, width)
        self.heads = nn.ModuleList(nn.Linear(width, len(values) + 1) for values in ATTRIBUTES.values())

    def forward(self, states: Float[Tensor, "N L C"]) -> list[Float[Tensor, "N K"]]:
        """Logits per attribute; the last class is "not said"."""
        scores = torch.einsum("ac,nlc->nal", self.queries, self.keys(states))
        read = torch.einsum("nal,nlc->nac", scores.softmax(-1), self.values(states))
        return [head(read[:, i]) for i, head in enumerate(self.heads)]


def labels_of(said: list[dict[str, str]]) -> Int[Tensor, "N A"]:
    """Class index of every attribute; the last class is "not said"."""
    rows = [[values.index(s[a]) if a in s else len(values) for a, values in ATTRIBUTES.items()] for s in said]
    return torch.tensor(rows)


def train_text(
    out: Path,
    shape: MiniShape,
    budget: Budget,
    log: Log,
    resume: bool = False,
    device: str = "cpu",
    seed: int = 0,
    captions: int = 24_000,
    batch: int = 64,
    rhythm: Rhythm = Rhythm(),
) -> Progress:
    """Make `OUT/prior/tokenizer` (unless resuming one) and teach `OUT/prior/text_encoder`."""
    told = sample_captions(captions, seed)
    folder = out / "prior" / "tokenizer"
    if not (resume and (folder / "vocab.json").exists()):
        train_tokenizer((text for text, _ in told), folder)
    tokenizer = load_tokenizer(folder)
    torch.manual_seed(seed)
    encoder: Any = build_text_encoder(shape, tokenizer)
    encoder, heads = encoder.to(device), AttributeHeads(shape.text_width).to(device)
    ids, labels = (
        tokenize(tokenizer, [t for t, _ in told]).to(device),
        labels_of([s for _, s in told]).to(device),
    )
    held_out = sample_captions(256, seed + 1, "validation")
    held_ids = tokenize(tokenizer, [t for t, _ in held_out]).to(device)
    held_labels = labels_of([s for _, s in held_out]).to(device)

    def loss(rng: np.random.Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        rows = torch.from_numpy(rng.integers(0, len(ids), batch)).to(device)
        with autocast(torch.device(device)):
            logits = [x.float() for x in heads(encoder(ids[rows]).last_hidden_state)]
        losses = [nn.functional.cross_entropy(x, labels[rows, i]) for i, x in enumerate(logits)]
        return torch.stack(losses).sum() / 10, {}

    def export(averages: Mapping[str, MovingAverage], progress: Progress) -> None:
        for folder in (out / "prior" / "text_encoder", out / TEXT_START):
            save_part(encoder, folder, averages["text_encoder"].state)

    def sheet(progress: Progress) -> dict[str, float]:
        logits = heads(encoder(held_ids).last_hidden_state)
        right = torch.stack([x.argmax(-1) == held_labels[:, i] for i, x in enumerate(logits)], dim=1)
        said = held_labels < torch.tensor([len(v) for v in ATTRIBUTES.values()], device=device)
        return {"right": float(right.float().mean()), "right where said": float(right[said].float().mean())}

    task = Task(
        "text", {"text_encoder": encoder, "heads": heads}, 1e-3, loss, export, sheet, decay=0.99, seed=seed
    )
    return train(task, out, budget, log, resume, rhythm)
