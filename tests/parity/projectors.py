"""The trained modules as the specification has them, with the published names, for the scripts beside this file."""
import torch
from torch import nn


class DiffLMMProjector(nn.Module):
    """What is trained between image and language model; every size is that of the tensors in the file."""

    def __init__(self, tokens, clip, context, unet, llm, width=None):
        width = width or llm
        super().__init__()
        self.clip_projector = nn.Sequential(nn.Linear(clip, context), nn.GELU(), nn.Linear(context, context))
        self.clip_pe = nn.Parameter(torch.randn(tokens, context))
        self.sd_norm_layer = nn.LayerNorm(unet)
        self.sd_proj_layer = nn.Sequential(nn.Conv2d(unet, llm // 4, 1), nn.GELU())
        self.linear = nn.Sequential(nn.Linear(llm // 4 + clip, width), nn.GELU(), nn.Linear(width, llm))
        self.vt_pe = nn.Parameter(torch.randn(tokens, llm))

    def context(self, clip):
        return self.clip_projector(clip) + self.clip_pe

    def forward(self, clip, unet):
        """clip [B,N,C]; unet [B,h,w,C], h * w = N."""
        x = self.sd_norm_layer(unet).permute(0, 3, 1, 2)
        x = self.sd_proj_layer(x).flatten(2).transpose(1, 2)
        return self.linear(torch.cat([x, clip], dim=-1)) + self.vt_pe


class LlavaProjector(nn.Sequential):
    def __init__(self, clip, llm, width=None):
        super().__init__(nn.Linear(clip, width or llm), nn.GELU(), nn.Linear(width or llm, llm))

    def forward(self, clip, unet):
        return super().forward(clip)
