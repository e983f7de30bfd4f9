"""The latent diffusion model: an autoencoder that halves the picture twice, and a U-Net that takes noise from its
latents with a caption's help."""
import json
import os

import torch
import torch.nn.functional as F

from scenes import IMAGE_SIZE, in_batches
from steps import DEVICE, Training
from texts import TEXT_LENGTH

VAE_STEPS, VAE_BATCH, VAE_CROP, VAE_RATE = 3000, 8, 64, 3e-3
# Large enough to bound the latents, too small to drown them in noise (the divergence is a sum over a latent).
DIVERGENCE_WEIGHT = 1e-7
UNET_STEPS, UNET_BATCH, UNET_RATE = 8000, 32, 2e-3
UNET_AVERAGE = 0.998
CROWDED_SHARE = 0.5  # of a batch; the others are iconic, whose captions tell most of the picture
EMPTY_PROMPT = 0.1  # share of pictures that are shown without their caption
# A clean latent's squared error counts 1 + the ratio of signal to noise [as v-prediction does, Salimans & Ho 2022,
# arXiv 2202.00512], up to the first of these [Hang et al. 2023, arXiv 2303.09556]; the second bounds what that makes of
# the noise's error where hardly any signal is left. Counted by the noise's error, as Stable Diffusion does, what captions
# tell would count a hundredth there of what the grain of the ground does elsewhere.
SIGNAL_LIMIT, NOISE_LIMIT = 5.0, 50.0
SCHEDULE = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
VAE = dict(down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
           block_out_channels=[16, 24, 32], layers_per_block=1, latent_channels=4, norm_num_groups=8,
           sample_size=IMAGE_SIZE)
UNET = dict(sample_size=IMAGE_SIZE // 4, block_out_channels=[16, 32, 64, 64], layers_per_block=1, attention_head_dim=2,
            norm_num_groups=8,
            down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"])


def train_vae(scenes, out, work, steps=VAE_STEPS):
    from diffusers import AutoencoderKL

    torch.manual_seed(2)
    model = AutoencoderKL(**VAE)
    print("vae parameters", sum(p.numel() for p in model.parameters()))

    def loss_of_step(rng, progress):
        top, left = rng.integers(0, (IMAGE_SIZE - VAE_CROP) // 8 + 1, size=2) * 8  # of a part, as it is convolutional
        index = rng.integers(len(scenes), size=VAE_BATCH)
        pixels = scenes.batch(index)[..., top : top + VAE_CROP, left : left + VAE_CROP].to(DEVICE)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            posterior = model.encode(pixels).latent_dist
            decoded = model.decode(posterior.sample()).sample
        error = decoded.float() - pixels  # squared beside absolute: else small things of bright colours come late
        return error.abs().mean() + error.square().mean() + DIVERGENCE_WEIGHT * posterior.kl().float().mean()

    @torch.no_grad()
    def save():
        model.eval()
        posteriors = [model.encode(scenes.batch(index).to(DEVICE)).latent_dist
                      for index in in_batches(min(500, len(scenes)), 50)]
        first = next(iter(in_batches(len(scenes), 50)))
        deviation = torch.cat([p.mean for p in posteriors]).std()
        noise = torch.cat([p.std for p in posteriors]).mean()
        error = F.l1_loss(model.decode(posteriors[0].mode()).sample, scenes.batch(first).to(DEVICE))
        model.register_to_config(scaling_factor=float(1 / deviation))
        model.save_pretrained(os.path.join(out, "sd", "vae"))
        print(f"vae scaling {1 / deviation:.4f} posterior std {noise:.4f} reconstruction L1 {error:.4f}", flush=True)

    Training("vae", model, work, steps, VAE_RATE, kernels=True).run(loss_of_step, save)


@torch.no_grad()
def write_latents(scenes, out, path):
    """Mean and log-variance of every picture's latents, in half precision: [N, 8, 32, 32]."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(os.path.join(out, "sd", "vae")).eval().to(DEVICE)
    moments = torch.cat([vae.encode(scenes.batch(index).to(DEVICE)).latent_dist.parameters.half().cpu()
                         for index in in_batches(len(scenes), 64)])
    torch.save(moments, path + ".partial")
    os.replace(path + ".partial", path)


def write_scheduler(out):
    from diffusers import PNDMScheduler

    PNDMScheduler(**SCHEDULE, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1).save_pretrained(
        os.path.join(out, "sd", "scheduler"))


def write_model_index(out):
    index = dict(_class_name="StableDiffusionPipeline", scheduler=["diffusers", "PNDMScheduler"],
                 text_encoder=["transformers", "CLIPTextModel"], tokenizer=["transformers", "CLIPTokenizer"],
                 unet=["diffusers", "UNet2DConditionModel"], vae=["diffusers", "AutoencoderKL"])
    with open(os.path.join(out, "sd", "model_index.json"), "w") as file:
        json.dump(index, file, indent=2)


def loss_weights(scheduler):
    """What the squared error of the guessed noise counts at each timestep: [1000]."""
    ratio = scheduler.alphas_cumprod / (1 - scheduler.alphas_cumprod)
    return ((1 + ratio).clamp(max=SIGNAL_LIMIT) / ratio).clamp(max=NOISE_LIMIT)


def train_unet(worlds, texts, out, work, steps=UNET_STEPS):
    """In one process, or in several that share each batch. worlds: crowded and iconic Scenes, each with the path of its
    latents."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from diffusers.models.attention_processor import AttnProcessor
    from transformers import CLIPTextModel

    scaling = AutoencoderKL.load_config(os.path.join(out, "sd", "vae"))["scaling_factor"]
    encoder = CLIPTextModel.from_pretrained(os.path.join(out, "sd", "text_encoder"), dtype=torch.float32).eval()
    encoder.to(DEVICE)
    worlds = [(scenes, torch.load(path, weights_only=True, mmap=True)) for scenes, path in worlds]
    scheduler = DDPMScheduler(**SCHEDULE)
    weight = loss_weights(scheduler).to(DEVICE)
    torch.manual_seed(3)
    model = UNet2DConditionModel(**UNET, cross_attention_dim=encoder.config.hidden_size)
    if DEVICE.type == "cpu":
        model.set_attn_processor(AttnProcessor())  # the fused kernel's backward is several times slower in bfloat16
    training = Training("unet", model, work, steps, UNET_RATE, average=UNET_AVERAGE, kernels=True)
    training.say(f"parameters {sum(p.numel() for p in model.parameters())}")

    def draw(rng):
        """One picture's moments and its caption."""
        scenes, moments = worlds[int(rng.random() >= CROWDED_SHARE)]
        index = rng.integers(len(scenes))
        return moments[index], scenes.caption(index, rng) if rng.random() > EMPTY_PROMPT else ""

    def loss_of_step(rng, progress):
        moments, told = zip(*(draw(rng) for _ in range(UNET_BATCH)))
        timestep = torch.randint(0, scheduler.config.num_train_timesteps, (UNET_BATCH,))
        sampled, noise = torch.randn(2, UNET_BATCH, VAE["latent_channels"], *moments[0].shape[1:])
        own = slice(training.rank, None, training.processes)
        mean, log_variance = torch.stack(moments[own]).to(DEVICE).float().chunk(2, 1)
        sampled, noise, timestep = (drawn[own].to(DEVICE) for drawn in (sampled, noise, timestep))
        latents = scaling * (mean + (0.5 * log_variance.clamp(-30, 20)).exp() * sampled)
        with torch.no_grad():
            context = encoder(input_ids=texts.batch(told[own], TEXT_LENGTH).to(DEVICE)).last_hidden_state
        with torch.autocast(DEVICE.type, torch.bfloat16):
            guess = model(scheduler.add_noise(latents, noise, timestep), timestep, encoder_hidden_states=context).sample
        return ((guess.float() - noise).square().mean((1, 2, 3)) * weight[timestep]).mean()

    def save():
        model.save_pretrained(os.path.join(out, "sd", "unet"))
        write_scheduler(out)
        write_model_index(out)

    training.run(loss_of_step, save)
