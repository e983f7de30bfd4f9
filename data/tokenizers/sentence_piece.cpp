#include "data/tokenizers/sentence_piece.h"

#include "autograd/file_content.h"

#include <exception>
#include <fstream>
#include <new>
#include <sentencepiece_processor.h>

struct SentencePiece {
    sentencepiece::SentencePieceProcessor processor;
};

extern "C" SentencePiece *sentence_piece_open(const char *path, Error *error) {
    SentencePiece *model = nullptr;
    try {
        // The library prints on stderr when it cannot open a file; ask first.
        if (!std::ifstream(path).good()) {
            error_set(error, "%s: the tokenizer cannot be read: no such file, or no permission",
                      path);
            return nullptr;
        }
        if (!file_at_is_fetched(path, error)) return nullptr;
        model = new SentencePiece;
        const auto status = model->processor.Load(path);
        if (status.ok() && model->processor.GetPieceSize() > 0) return model;
        error_set(error, "%s: not a SentencePiece model (%s). Fetch the file again", path,
                  status.ok() ? "it has no pieces" : status.ToString().c_str());
    } catch (const std::exception &failure) {
        error_set(error, "%s: not a SentencePiece model (%s). Fetch the file again", path,
                  failure.what());
    }
    delete model;
    return nullptr;
}

extern "C" void sentence_piece_close(SentencePiece *model) { delete model; }

extern "C" bool sentence_piece_encode(const SentencePiece *model, const char *text, size_t length,
                                      SentencePieceVisitor *visit, void *context, Error *error) {
    try {
        const auto pieces =
            model->processor.EncodeAsImmutableProto(absl::string_view(text, length));
        for (size_t i = 0; i < pieces.pieces_size(); i++) {
            const auto piece = pieces.pieces(static_cast<int>(i));
            visit(static_cast<int32_t>(piece.id()), static_cast<int32_t>(piece.begin()),
                  static_cast<int32_t>(piece.end()), context);
        }
        return true;
    } catch (const std::exception &failure) {
        return error_set(error, "a text of %zu bytes cannot be tokenized: %s", length,
                         failure.what());
    }
}

extern "C" int sentence_piece_count(const SentencePiece *model) {
    return model->processor.GetPieceSize();
}
extern "C" int sentence_piece_bos(const SentencePiece *model) { return model->processor.bos_id(); }
extern "C" int sentence_piece_eos(const SentencePiece *model) { return model->processor.eos_id(); }
extern "C" int sentence_piece_unknown(const SentencePiece *model) {
    return model->processor.unk_id();
}

extern "C" int sentence_piece_find(const SentencePiece *model, const char *text) {
    return model->processor.PieceToId(text);
}

extern "C" const char *sentence_piece_text(const SentencePiece *model, int id) {
    return model->processor.IdToPiece(id).c_str();
}

extern "C" PieceKind sentence_piece_kind(const SentencePiece *model, int id) {
    const auto &processor = model->processor;
    if (processor.IsByte(id)) return PIECE_BYTE;
    return processor.IsControl(id) || processor.IsUnknown(id) || processor.IsUnused(id)
               ? PIECE_CONTROL
               : PIECE_TEXT;
}
