/* SPDX-License-Identifier: MIT
 *
 * Layers: middleware with data of its own around an application. A stack of them is made once in a
 * worker's life and is never freed.
 */
#include "base/util.h"
#include "gcorn.h"

struct gcorn_layer {
    gcorn_layer_fn *fn; /* NULL: the application itself */
    void *data;
    const struct gcorn_layer *inner;
    gcorn_app *app;
};

static const struct gcorn_layer *make(struct gcorn_layer layer)
{
    struct gcorn_layer *made = xcalloc(1, sizeof(*made));

    *made = layer;
    return made;
}

const struct gcorn_layer *gcorn_layer_new(gcorn_layer_fn *fn, void *data,
                                          const struct gcorn_layer *inner)
{
    return fn && inner ? make((struct gcorn_layer){.fn = fn, .data = data, .inner = inner}) : NULL;
}

const struct gcorn_layer *gcorn_layer_app(gcorn_app *app)
{
    return app ? make((struct gcorn_layer){.app = app}) : NULL;
}

struct gcorn_body *gcorn_layer_call(const struct gcorn_layer *layer, struct gcorn_environ *env,
                                    struct gcorn_start_response *start_response)
{
    if (!layer)
        return NULL;
    return layer->fn ? layer->fn(env, start_response, layer->inner, layer->data)
                     : layer->app(env, start_response);
}
