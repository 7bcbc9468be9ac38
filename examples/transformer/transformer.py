#!/usr/bin/env python3
"""A small transformer that reads bytes, trained and then asked to go on with a text, on layers that mine.

    transformer.py [--steps N] [--layers N] [--text FILE]…

Every linear layer is a `pouw.Linear`: int7 products forward, float backward. At the end it says what share of all
multiplications mined (the backward pass, attention, and layers of fewer than 2,048 inputs never do), and how far the
quantised model is from the same model in float. Without a mining socket (POUW_MINING_SOCKET) it just computes.
"""
import argparse
import pathlib
import sys
import time

import pouw
import torch
from torch.nn import functional

WIDTH, HEADS, CONTEXT, BATCH = 1024, 16, 128, 8


class Block(torch.nn.Module):
    """Attention and a feed-forward part, each after a norm and beside a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(WIDTH) for _ in range(2))
        self.ask = torch.nn.Linear(WIDTH, 3 * WIDTH)
        self.join = torch.nn.Linear(WIDTH, WIDTH)
        self.widen = torch.nn.Linear(WIDTH, 4 * WIDTH)
        self.narrow = torch.nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        heads = self.ask(self.norms[0](x)).reshape(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        query, key, value = heads
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        seen = scores.masked_fill(future, float("-inf")).softmax(-1) @ value
        x = x + self.join(seen.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.narrow(functional.gelu(self.widen(self.norms[1](x))))


class Transformer(torch.nn.Module):
    """Bytes in, a guess of the next byte out."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.bytes = torch.nn.Embedding(256, WIDTH)
        self.places = torch.nn.Embedding(CONTEXT, WIDTH)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(layers))
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.out = torch.nn.Linear(WIDTH, 256)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x = self.bytes(text) + self.places(torch.arange(text.shape[-1]))
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))

    def macs(self, batch: int, length: int) -> int:
        """Multiplications of one forward pass: layers, and the two products of attention."""
        linear = sum(layer.weight.numel() for layer in layers_of(self))
        return batch * length * (linear + 2 * length * WIDTH * len(self.blocks))


def layers_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """All linear layers, float or quantised."""
    return [part for part in model.modules() if isinstance(part, (torch.nn.Linear, pouw.Linear))]


def quantised(model: torch.nn.Module) -> torch.nn.Module:
    """Puts a `pouw.Linear` in the place of each linear layer; parameters stay the same."""
    for part in list(model.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, torch.nn.Linear):
                setattr(part, name, pouw.Linear.from_float(child))
    return model


def batch_of(text: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pieces of the text, and the same one byte later."""
    starts = torch.randint(len(text) - CONTEXT - 1, (BATCH,), generator=generator)
    pieces = torch.stack([text[start:start + CONTEXT + 1] for start in starts.tolist()])
    return pieces[:, :-1], pieces[:, 1:]


def loss_of(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.reshape(-1, 256), wanted.reshape(-1))


def train(model: Transformer, text: torch.Tensor, steps: int) -> int:
    """Some steps of AdamW; gives back the multiplications, of which the backward pass has two thirds."""
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-4)
    for step in range(1, steps + 1):
        given, wanted = batch_of(text, generator)
        optimiser.zero_grad()
        loss = loss_of(model(given), wanted)
        loss.backward()
        optimiser.step()
        if step in (1, steps) or step % 10 == 0:
            print(f"step {step:3}: loss {loss.item():.3f}", flush=True)
    return 3 * steps * model.macs(BATCH, CONTEXT)


@torch.no_grad()
def infer(model: Transformer, text: torch.Tensor, batches: int) -> tuple[float, torch.Tensor, int]:
    """Loss on text that was not trained on, the guesses, and the multiplications."""
    generator = torch.Generator().manual_seed(2)
    losses, guesses = [], []
    for _ in range(batches):
        given, wanted = batch_of(text, generator)
        logits = model(given)
        losses.append(loss_of(logits, wanted))
        guesses.append(logits.argmax(-1))
    return torch.stack(losses).mean().item(), torch.cat(guesses), batches * model.macs(BATCH, CONTEXT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30, help="training steps")
    parser.add_argument("--layers", type=int, default=2, help="blocks")
    parser.add_argument("--text", type=pathlib.Path, action="append", help="what to learn; its own code by default")
    arguments = parser.parse_args()
    files = arguments.text or [pathlib.Path(__file__)]
    text = torch.frombuffer(bytearray(b"".join(file.read_bytes() for file in files)), dtype=torch.uint8).long()
    if len(text) < 4 * CONTEXT:
        print(f"transformer.py: {len(text)} bytes of text; at least {4 * CONTEXT} are needed", file=sys.stderr)
        return 1
    train_text, test_text = text[:-len(text) // 4], text[-len(text) // 4:]
    torch.manual_seed(0)
    model = quantised(Transformer(arguments.layers))
    start = time.monotonic()
    macs = train(model, train_text, arguments.steps)
    loss, guesses, inferred = infer(model, test_text, 4)
    took, macs = time.monotonic() - start, macs + inferred

    as_float = Transformer(arguments.layers)
    as_float.load_state_dict(model.state_dict())
    float_loss, float_guesses, _ = infer(as_float, test_text, 4)
    agree = (guesses == float_guesses).float().mean().item()
    mined = pouw.mining()
    print(f"on new text: loss {loss:.4f} quantised, {float_loss:.4f} in float; the same guess for {agree:.1%} of bytes")
    print(f"{macs / 1e9:,.0f} GMAC in {took:.0f} s on {pouw.get_threads()} threads of {pouw.backend()}")
    print(f"mined: {mined.mined_macs / 1e9:,.0f} GMAC, {mined.mined_macs / macs:.1%} of all, {mined.share:.1%} of those "
          f"of layers large enough to mine; certificates: {mined.handed_in} handed in, {mined.taken} taken")
    return 0


if __name__ == "__main__":
    sys.exit(main())
