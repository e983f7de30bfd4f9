"""Captions as token ids: the tiny world's tokenizer, whose words are the crowded world's too."""
import json
import os
import re

import torch

from scenes import CLIP_MEAN, CLIP_SIZE, CLIP_STD

TEXT_LENGTH = 77


class ClipTexts:
    """Token ids of texts, cached word by word."""

    def __init__(self, folder):
        from transformers import CLIPTokenizer

        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self.begin, self.end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.words = {}

    def encode(self, text):
        ids = [self.begin]
        for word in re.findall(r"[a-z]+|[^\sa-z]+", text.lower()):
            if word not in self.words:
                self.words[word] = self.tokenizer(word)["input_ids"][1:-1]
            ids += self.words[word]
        return ids[: TEXT_LENGTH - 1] + [self.end]

    def batch(self, texts, length=None):
        """[B, T] filled up with the end's id, to `length` or the longest."""
        rows = [self.encode(text) for text in texts]
        length = length or max(map(len, rows))
        return torch.tensor([row + [self.end] * (length - len(row)) for row in rows])


def write_preprocessor(folder):
    square = dict(height=CLIP_SIZE, width=CLIP_SIZE)
    settings = dict(image_processor_type="CLIPImageProcessor", do_resize=True, size=dict(shortest_edge=CLIP_SIZE),
                    resample=3, do_center_crop=True, crop_size=square, do_rescale=True, rescale_factor=1 / 255,
                    do_normalize=True, image_mean=CLIP_MEAN.flatten().tolist(), image_std=CLIP_STD.flatten().tolist(),
                    do_convert_rgb=True)
    with open(os.path.join(folder, "preprocessor_config.json"), "w") as file:
        json.dump(settings, file, indent=2)


def write_text_encoder(model, folder):
    """CLIP's text tower as Stable Diffusion's text encoder."""
    from transformers import CLIPTextModel

    encoder = CLIPTextModel(model.config.text_config)
    source = {k.removeprefix("text_model."): v for k, v in model.text_model.state_dict().items()}
    encoder.load_state_dict({k: source[k.removeprefix("text_model.")] for k in encoder.state_dict()})
    encoder.save_pretrained(folder)
