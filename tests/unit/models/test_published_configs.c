// rooms: models ops checkpoints autograd
// Published configurations are accepted, or refused by the key's name. Their weights are not at
// hand: that a configuration is accepted shows in the complaint, which is then about a tensor.
#include "models/clip/clip_text.h"
#include "models/clip/clip_vision.h"
#include "models/diffusion/noise_schedule.h"
#include "models/diffusion/unet.h"
#include "models/diffusion/vae.h"
#include "models/language/llama.h"
#include "models/llava_config.h"
#include "models/sam/sam.h"
#include "tests/unit/recorded.h"

#include <math.h>
#include <sys/stat.h>

// ---- loaders under one form: false with a message

static bool open_clip_vision(const char *folder, Error *error) {
    ClipVision *clip = clip_vision_load(folder, case_device(), FLOAT32, error);
    clip_vision_free(clip);
    return clip != NULL;
}

static bool open_clip_text(const char *folder, Error *error) {
    ClipText *clip = clip_text_load(folder, case_device(), FLOAT32, error);
    clip_text_free(clip);
    return clip != NULL;
}

static bool open_vae(const char *folder, Error *error) {
    VaeEncoder *vae = vae_encoder_load(folder, case_device(), FLOAT32, error);
    vae_encoder_free(vae);
    return vae != NULL;
}

static bool open_unet(const char *folder, Error *error) {
    UNet *unet = unet_load(folder, 1, case_device(), FLOAT32, error);
    unet_free(unet);
    return unet != NULL;
}

static bool open_schedule(const char *folder, Error *error) {
    NoiseSchedule *schedule = noise_schedule_load(folder, error);
    noise_schedule_free(schedule);
    return schedule != NULL;
}

static bool open_llama(const char *folder, Error *error) {
    Llama *llama = llama_load(folder, case_device(), FLOAT32, error);
    llama_free(llama);
    return llama != NULL;
}

static bool open_llava(const char *folder, Error *error) {
    return llava_config_check(folder, 1024, error);
}

static bool open_sam(const char *folder, Error *error) {
    Sam *sam = sam_load(folder, case_device(), FLOAT32, error);
    sam_free(sam);
    return sam != NULL;
}

typedef bool Loader(const char *folder, Error *error);

// ---- the published files

static const char *shared_folder(void) {
    static char folder[1024];
    const char *shared = getenv("DIFFLMM_SHARED_DATA");
    snprintf(folder, sizeof folder, "%s/public", shared ? shared : SOURCE_DIR "/../shared/data");
    return folder;
}

#define SD "sd/stable-diffusion-v1-5/"

/// What becomes of a published file: `loader` finds it under the name `as` beside weights of
/// another model.
typedef struct PublishedFile {
    const char *path, *as;
    Loader *loader;
    /// the key; NULL: accepted
    const char *refused;
} PublishedFile;

static const PublishedFile files[] = {
    {"configs/open_clip_ViT-B-16.json", "config.json", open_clip_vision, NULL},
    {"configs/open_clip_ViT-B-16.json", "config.json", open_clip_text, "text_cfg"},
    {"configs/open_clip_ViT-L-14.json", "config.json", open_clip_vision, NULL},
    {"configs/open_clip_ViT-L-14-336.json", "open_clip_config.json", open_clip_vision, NULL},
    {"configs/llava-v1.5-7b.json", "config.json", open_llama, NULL},
    {"configs/llava-v1.5-7b.json", "config.json", open_llava, NULL},
    {"configs/vicuna-7b-v1.1.json", "config.json", open_llama, NULL},
    {"configs/sam-vit-huge.json", "config.json", open_sam, NULL},
    {SD "feature_extractor/preprocessor_config.json", "preprocessor_config.json", open_clip_vision,
     NULL},
    {SD "safety_checker/config.json", "config.json", open_clip_vision, NULL},
    {SD "safety_checker/config.json", "config.json", open_clip_text, NULL},
    {SD "scheduler/scheduler_config.json", "scheduler_config.json", open_schedule, NULL},
    {SD "text_encoder/config.json", "config.json", open_clip_text, NULL},
    {SD "unet/config.json", "config.json", open_unet, NULL},
    {SD "vae/config.json", "config.json", open_vae, NULL},
    // A file for another network says so by its first key.
    {SD "unet/config.json", "config.json", open_vae, "down_block_types"},
    {SD "vae/config.json", "config.json", open_unet, "down_block_types"},
    {"configs/vicuna-7b-v1.1.json", "config.json", open_clip_vision, "model_type"},
    {SD "text_encoder/config.json", "config.json", open_llama, "model_type"},
};

/// Read elsewhere, as the comment says, or by nothing in this program, which they do not disturb.
static const char *const others[] = {
    // an_index_without_its_shards_names_the_first
    "configs/vicuna-7b-v1.1.pytorch_model.bin.index.json",
    "configs/sam-vit-huge.preprocessor.json",
    SD "README.md",
    SD "model_index.json",
    SD "v1-inference.yaml",
    SD "tokenizer/merges.txt",
    SD "tokenizer/special_tokens_map.json",
    SD "tokenizer/tokenizer_config.json", // test the_tokenizer_beside_gives_the_special_tokens
    SD "tokenizer/vocab.json",
};

/// Puts the file, and another model's weights, into a new temporary folder. False if it is not
/// there.
static bool place(const char *path, const char *as) {
    char from[2048];
    snprintf(from, sizeof from, "%s/%s", shared_folder(), path);
    if (access(from, R_OK) != 0) return false;
    assert_int_equal(make_temporary_folder(NULL), 0);
    assert_int_equal(symlink(from, in_folder(as)), 0);
    assert_int_equal(
        symlink(recorded_path("clip_vision/model.safetensors"), in_folder("model.safetensors")), 0);
    if (!strcmp(as, "preprocessor_config.json"))
        assert_int_equal(
            symlink(recorded_path("clip_vision/config.json"), in_folder("config.json")), 0);
    return true;
}

static bool is_about_tensors(const Error *error) {
    return strstr(error->message, "tensor '") || strstr(error->message, "tensors are missing");
}

/// Accepted: the network is there, or what is wrong are its tensors.
static void expect(const char *what, Loader *loader, const char *refused) {
    Error error = {0};
    char key[128];
    snprintf(key, sizeof key, "key '%s'", refused ? refused : "");
    bool opened = loader(temporary_folder, &error);
    if (!refused && (opened || is_about_tensors(&error))) return;
    if (refused && !opened && strstr(error.message, key)) return;
    fail_msg("%s: %s", what, opened ? "was taken" : error.message);
}

static void published_files_are_accepted_or_refused_by_key(void **state) {
    (void)state;
    int found = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (!place(files[i].path, files[i].as)) continue;
        found++;
        expect(files[i].path, files[i].loader, files[i].refused);
        assert_int_equal(remove_temporary_folder(NULL), 0);
    }
    if (found) return;
    printf("# %s is not there: skipped\n", shared_folder());
    skip();
}

static bool is_listed(const char *path) {
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!strcmp(files[i].path, path)) return true;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(others[i], path)) return true;
    return false;
}

static int check_listed(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status, (void)walk;
    const char *inside = path + strlen(shared_folder()) + 1;
    if (type == FTW_F && !is_listed(inside)) fail_msg("nothing is said of %s", inside);
    return 0;
}

static void no_published_file_is_forgotten(void **state) {
    (void)state;
    char folder[1100];
    if (access(shared_folder(), R_OK) != 0) skip();
    static const char *const folders[] = {"configs", "sd"};
    for (int i = 0; i < 2; i++) {
        snprintf(folder, sizeof folder, "%s/%s", shared_folder(), folders[i]);
        nftw(folder, check_listed, 16, FTW_PHYS);
    }
}

static void an_index_without_its_shards_names_the_first(void **state) {
    (void)state;
    Error error = {0};
    if (!place("configs/vicuna-7b-v1.1.json", "config.json")) skip();
    char from[2048];
    snprintf(from, sizeof from, "%s/%s", shared_folder(),
             "configs/vicuna-7b-v1.1.pytorch_model.bin.index.json");
    assert_int_equal(unlink(in_folder("model.safetensors")), 0);
    assert_int_equal(symlink(from, in_folder("pytorch_model.bin.index.json")), 0);
    assert_false(open_llama(temporary_folder, &error));
    assert_non_null(strstr(error.message, "pytorch_model.bin.index.json"));
    assert_non_null(strstr(error.message, "pytorch_model-0000"));
    remove_temporary_folder(NULL);
}

/// A text encoder of a vocabulary that is too small for the published tokenizer beside it.
static void the_tokenizer_beside_gives_the_special_tokens(void **state) {
    (void)state;
    Error error = {0};
    char from[2048];
    snprintf(from, sizeof from, "%s/%s", shared_folder(), SD "tokenizer");
    if (access(from, R_OK) != 0) skip();
    assert_int_equal(symlink(from, in_folder("tokenizer")), 0);
    assert_int_equal(mkdir(in_folder("text_encoder"), 0700), 0);
    write_text("text_encoder/config.json",
               "{\"model_type\": \"clip_text_model\", \"vocab_size\": 49407}");
    assert_int_equal(symlink(recorded_path("clip_vision/model.safetensors"),
                             in_folder("text_encoder/model.safetensors")),
                     0);
    assert_false(open_clip_text(in_folder("text_encoder"), &error));
    assert_non_null(strstr(error.message, "special tokens go up to 49407"));
}

// ---- configurations that are not among the files: Stable Diffusion 2.1's, and what newer
// libraries write

static const char sd21_unet[] =
    "\"act_fn\": \"silu\", \"attention_head_dim\": [5, 10, 20, 20], \"cross_attention_dim\": 1024,"
    "\"block_out_channels\": [320, 640, 1280, 1280], \"center_input_sample\": false,"
    "\"down_block_types\": [\"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\","
    " \"CrossAttnDownBlock2D\", \"DownBlock2D\"], \"downsample_padding\": 1,"
    "\"dual_cross_attention\": false, \"flip_sin_to_cos\": true, \"freq_shift\": 0,"
    "\"in_channels\": 4, \"layers_per_block\": 2, \"mid_block_scale_factor\": 1,"
    "\"norm_eps\": 1e-05, \"norm_num_groups\": 32, \"num_class_embeds\": null,"
    "\"only_cross_attention\": false, \"out_channels\": 4, \"sample_size\": 96,"
    "\"up_block_types\": [\"UpBlock2D\", \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\","
    " \"CrossAttnUpBlock2D\"], \"use_linear_projection\": true, \"upcast_attention\": true";

/// The keys that sd-turbo's configuration has in addition.
static const char sd_turbo_unet[] =
    "\"addition_embed_type\": null, \"addition_embed_type_num_heads\": 64,"
    "\"addition_time_embed_dim\": null, \"attention_type\": \"default\","
    "\"class_embed_type\": null, \"class_embeddings_concat\": false, \"conv_in_kernel\": 3,"
    "\"conv_out_kernel\": 3, \"cross_attention_norm\": null, \"dropout\": 0.0,"
    "\"encoder_hid_dim\": null, \"encoder_hid_dim_type\": null,"
    "\"mid_block_only_cross_attention\": null, \"mid_block_type\": \"UNetMidBlock2DCrossAttn\","
    "\"num_attention_heads\": null, \"projection_class_embeddings_input_dim\": null,"
    "\"resnet_out_scale_factor\": 1.0, \"resnet_skip_time_act\": false,"
    "\"resnet_time_scale_shift\": \"default\", \"reverse_transformer_layers_per_block\": null,"
    "\"time_cond_proj_dim\": null, \"time_embedding_act_fn\": null, \"time_embedding_dim\": null,"
    "\"time_embedding_type\": \"positional\", \"timestep_post_act\": null,"
    "\"transformer_layers_per_block\": 1";

static const char sd21_text[] =
    "\"architectures\": [\"CLIPTextModel\"], \"attention_dropout\": 0.0, \"bos_token_id\": 0,"
    "\"dropout\": 0.0, \"eos_token_id\": 2, \"hidden_act\": \"gelu\", \"hidden_size\": 1024,"
    "\"initializer_factor\": 1.0, \"initializer_range\": 0.02, \"intermediate_size\": 4096,"
    "\"layer_norm_eps\": 1e-05, \"max_position_embeddings\": 77,"
    "\"model_type\": \"clip_text_model\", \"num_attention_heads\": 16,"
    "\"num_hidden_layers\": 23, \"pad_token_id\": 1, \"projection_dim\": 512,"
    "\"torch_dtype\": \"float32\", \"vocab_size\": 49408";

static const char sd21_vae[] =
    "\"act_fn\": \"silu\", \"block_out_channels\": [128, 256, 512, 512],"
    "\"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\","
    " \"DownEncoderBlock2D\", \"DownEncoderBlock2D\"], \"force_upcast\": true, \"in_channels\": 3,"
    "\"latent_channels\": 4, \"latents_mean\": null, \"latents_std\": null,"
    "\"layers_per_block\": 2, \"mid_block_add_attention\": true, \"norm_num_groups\": 32,"
    "\"out_channels\": 3, \"sample_size\": 768, \"scaling_factor\": 0.18215,"
    "\"shift_factor\": null, \"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\","
    " \"UpDecoderBlock2D\", \"UpDecoderBlock2D\"], \"use_post_quant_conv\": true,"
    "\"use_quant_conv\": true";

static const char sd21_schedule[] =
    "\"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\", \"beta_start\": 0.00085,"
    "\"clip_sample\": false, \"num_train_timesteps\": 1000, \"prediction_type\": \"v_prediction\","
    "\"set_alpha_to_one\": false, \"skip_prk_steps\": true, \"steps_offset\": 1,"
    "\"timestep_spacing\": \"trailing\", \"trained_betas\": null";

static const char clip_vision[] =
    "\"architectures\": [\"CLIPVisionModelWithProjection\"], \"attention_dropout\": 0.0,"
    "\"hidden_act\": \"quick_gelu\", \"hidden_size\": 1024, \"image_size\": 336,"
    "\"intermediate_size\": 4096, \"layer_norm_eps\": 1e-05,"
    "\"model_type\": \"clip_vision_model\", \"num_attention_heads\": 16, \"num_channels\": 3,"
    "\"num_hidden_layers\": 24, \"patch_size\": 14, \"projection_dim\": 768";

static const char open_clip[] = "\"vision_cfg\": {\"image_size\": 224, \"layers\": 32, \"width\": "
                                "1280, \"head_width\": 80, \"patch_size\": 14";

static const char decoder[] = "\"model_type\": \"llama\", \"hidden_size\": 64, "
                              "\"intermediate_size\": 64, \"num_hidden_layers\": 1,"
                              "\"num_attention_heads\": 2, \"vocab_size\": 32";

typedef struct Variant {
    Loader *loader;
    const char *as;
    /// of the configuration
    const char *keys;
    /// keys in addition; they must not be among `keys`
    const char *changed;
    /// NULL: accepted
    const char *refused;
} Variant;

static const Variant variants[] = {
    {open_unet, "config.json", sd21_unet, "", NULL},
    {open_unet, "config.json", sd21_unet, sd_turbo_unet, NULL},
    {open_unet, "config.json", sd21_unet, "\"num_attention_heads\": [5, 10, 20, 20]", NULL},
    {open_unet, "config.json", sd21_unet, "\"class_embed_type\": \"timestep\"", "class_embed_type"},
    {open_unet, "config.json", sd21_unet, "\"resnet_time_scale_shift\": \"scale_shift\"",
     "resnet_time_scale_shift"},
    {open_unet, "config.json", sd21_unet, "\"encoder_hid_dim\": 768", "encoder_hid_dim"},
    {open_unet, "config.json", sd21_unet, "\"addition_embed_type\": \"text_time\"",
     "addition_embed_type"},
    {open_unet, "config.json", sd21_unet, "\"mid_block_only_cross_attention\": true",
     "mid_block_only_cross_attention"},
    {open_unet, "config.json", sd21_unet, "\"num_attention_heads\": 7", "num_attention_heads"},
    {open_clip_text, "config.json", sd21_text, "", NULL},
    {open_vae, "config.json", sd21_vae, "", NULL},
    {open_schedule, "scheduler_config.json", sd21_schedule, "", NULL},
    {open_schedule, "scheduler_config.json", sd21_schedule, "\"rescale_betas_zero_snr\": true",
     "rescale_betas_zero_snr"},
    {open_schedule, "scheduler_config.json", "\"beta_schedule\": \"squaredcos_cap_v2\"", "",
     "beta_schedule"},
    {open_clip_vision, "config.json", clip_vision, "", NULL},
    {open_clip_vision, "config.json", "\"model_type\": \"siglip\"", "", "model_type"},
    {open_clip_vision, "config.json", "\"hidden_act\": \"relu6\"", "", "hidden_act"},
    {open_clip_vision, "config.json", open_clip, "\"patch_dropout\": 0.5}", NULL},
    {open_clip_vision, "config.json", open_clip, "\"ls_init_value\": 1e-5}",
     "vision_cfg.ls_init_value"},
    {open_clip_vision, "config.json", open_clip, "\"no_ln_pre\": true}", "vision_cfg.no_ln_pre"},
    {open_clip_vision, "config.json", open_clip, "\"timm_model_name\": \"convnext_base\"}",
     "vision_cfg.timm_model_name"},
    {open_clip_vision, "config.json", open_clip, "\"mlp_ratio\": -1}", "vision_cfg.mlp_ratio"},
    {open_clip_vision, "config.json", "\"vision_cfg\": {\"layers\": [3, 4, 6, 3]}", "",
     "vision_cfg.layers"},
    {open_clip_vision, "config.json", "\"vision_cfg\": {\"width\": 100}", "",
     "vision_cfg.head_width"},
    {open_clip_vision, "config.json", open_clip,
     "\"act_kwargs\": null}, \"preprocess_cfg\": {\"interpolation\": "
     "\"bilinear\"}",
     "preprocess_cfg.interpolation"},
    {open_clip_vision, "config.json", open_clip,
     "\"act_kwargs\": null}, \"preprocess_cfg\": {\"resize_mode\": "
     "\"squash\"}",
     "preprocess_cfg.resize_mode"},
    {open_clip_vision, "config.json", "\"model_type\": \"llava\", \"vision_config\": {}", "",
     "vision_config"},
    {open_llama, "config.json",
     "\"model_type\": \"llava\", \"text_config\": {\"model_type\": \"llama\"}", "", "text_config"},
    {open_llama, "config.json", "\"model_type\": \"internvl_chat\", \"llm_config\": {}", "",
     "llm_config"},
    {open_llama, "config.json", "\"model_type\": \"deepseek_vl_v2\", \"language_config\": {}", "",
     "language_config"},
    {open_llama, "config.json", "\"model_type\": \"clip\", \"text_config\": {}", "", "model_type"},
    {open_llama, "config.json", decoder, "", NULL},
    {open_llama, "config.json", decoder, "\"rope_scaling\": null", NULL},
    {open_llama, "config.json", decoder, "\"rope_scaling\": {}", NULL},
    {open_llama, "config.json", decoder, "\"rope_scaling\": \"linear\"", "rope_scaling"},
    {open_llama, "config.json", decoder, "\"rope_scaling\": 2.0", "rope_scaling"},
    {open_llama, "config.json", decoder, "\"rope_scaling\": [\"linear\", 2]", "rope_scaling"},
    {open_llama, "config.json", decoder, "\"rope_scaling\": false", "rope_scaling"},
    {open_llama, "config.json", decoder, "\"rope_parameters\": \"yarn\"", "rope_parameters"},
    {open_llama, "config.json", decoder,
     "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"yarn\"}}", "rope_parameters"},
    {open_llava, "config.json", "\"mm_vision_select_layer\": -1", "", "mm_vision_select_layer"},
    {open_llava, "config.json", "\"mm_vision_select_feature\": \"cls_patch\"", "",
     "mm_vision_select_feature"},
    {open_llava, "config.json", "\"mm_projector_type\": \"linear\"", "", "mm_projector_type"},
    {open_llava, "config.json", "\"mm_hidden_size\": 768", "", "mm_hidden_size"},
    {open_llava, "config.json", "\"mm_use_im_start_end\": true", "", "mm_use_im_start_end"},
    {open_llava, "config.json", "\"mm_resampler_type\": \"perceiver\"", "", "mm_resampler_type"},
};

static void variants_are_accepted_or_refused_by_key(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const Variant *variant = &variants[i];
        char text[4096];
        snprintf(text, sizeof text, "{%s%s %s}", variant->keys, *variant->changed ? "," : "",
                 variant->changed);
        assert_int_equal(make_temporary_folder(NULL), 0);
        write_text(variant->as, text);
        assert_int_equal(
            symlink(recorded_path("clip_vision/model.safetensors"), in_folder("model.safetensors")),
            0);
        expect(text, variant->loader, variant->refused);
        assert_int_equal(remove_temporary_folder(NULL), 0);
    }
}

static void pixels_are_treated_as_the_file_says_or_it_is_refused(void **state) {
    (void)state;
    static const char *const refused[][2] = {
        {"do_resize", "false"},         {"do_center_crop", "false"},
        {"do_convert_rgb", "false"},    {"do_normalize", "1"},
        {"do_rescale", "\"no\""},       {"resample", "2"},
        {"resample", "\"bicubic\""},    {"rescale_factor", "0"},
        {"rescale_factor", "255"},      {"rescale_factor", "\"1/255\""},
        {"image_mean", "[0.5, 0.5]"},   {"image_mean", "0.5"},
        {"image_std", "[0.5, 0, 0.5]"}, {"image_std", "[0.5, \"a\", 0.5]"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"%s\": %s}", refused[i][0], refused[i][1]);
        assert_int_equal(make_temporary_folder(NULL), 0);
        write_text("preprocessor_config.json", text);
        assert_int_equal(
            symlink(recorded_path("clip_vision/config.json"), in_folder("config.json")), 0);
        assert_int_equal(
            symlink(recorded_path("clip_vision/model.safetensors"), in_folder("model.safetensors")),
            0);
        expect(text, open_clip_vision, refused[i][0]);
        assert_int_equal(remove_temporary_folder(NULL), 0);
    }
}

/// What the tower sees of a white and of a black pixel, by this preprocessor_config.json.
static void expect_pixels(const char *text, double black, double white) {
    Error error;
    assert_int_equal(make_temporary_folder(NULL), 0);
    write_text("preprocessor_config.json", text);
    assert_int_equal(symlink(recorded_path("clip_vision/config.json"), in_folder("config.json")),
                     0);
    assert_int_equal(
        symlink(recorded_path("clip_vision/model.safetensors"), in_folder("model.safetensors")), 0);
    ClipVision *clip = clip_vision_load(temporary_folder, case_device(), FLOAT32, &error);
    if (!clip) fail_msg("%s: %s", text, error.message);
    assert_true(fabs((0 - clip->image_mean[1]) / clip->image_std[1] - black) < 1e-5);
    assert_true(fabs((1 - clip->image_mean[1]) / clip->image_std[1] - white) < 1e-5 * (1 + white));
    clip_vision_free(clip);
    assert_int_equal(remove_temporary_folder(NULL), 0);
}

static void values_of_pixels_are_scaled_as_the_file_says(void **state) {
    (void)state;
    expect_pixels("{}", -0.4578275 / 0.26130258, (1 - 0.4578275) / 0.26130258);
    expect_pixels("{\"do_normalize\": false}", 0, 1);
    expect_pixels("{\"do_normalize\": false, \"do_rescale\": false}", 0, 255);
    expect_pixels("{\"rescale_factor\": 0.00784313725490196, \"image_mean\": [1, 1, 1], "
                  "\"image_std\": [1, 1, 1]}",
                  -1, 1);
    expect_pixels("{\"do_rescale\": false, \"image_mean\": [127.5, 127.5, 127.5], "
                  "\"image_std\": [51, 51, 51], \"resample\": 3, \"do_resize\": true}",
                  -2.5, 2.5);
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_files_are_accepted_or_refused_by_key),
        cmocka_unit_test(no_published_file_is_forgotten),
        cmocka_unit_test(an_index_without_its_shards_names_the_first),
        IN_FOLDER(the_tokenizer_beside_gives_the_special_tokens),
        cmocka_unit_test(variants_are_accepted_or_refused_by_key),
        cmocka_unit_test(pixels_are_treated_as_the_file_says_or_it_is_refused),
        cmocka_unit_test(values_of_pixels_are_scaled_as_the_file_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_levels(run_all); }
