/* classify-pack OUT: compiles the built-in rules, see pack.c. Runs only while the project is built.
 */
#include "classify/classifier_private.h"

const char rules_database[] = {0};
const size_t rules_database_len = 0;

int main(int argc, char **argv)
{
    struct fault fault = {0};
    struct classifier *classifier = classifier_load(NULL, &fault);
    FILE *out = argc == 2 ? fopen(argv[1], "wb") : NULL;
    bool good = classifier != NULL && out != NULL && pack_write(classifier, out);
    good = out != NULL && fclose(out) == 0 && good;
    if (!good) {
        (void)fprintf(stderr, "classify-pack: %s\n",
                      classifier == NULL ? fault.text : "the database cannot be written");
    }
    classifier_free(&classifier);
    return good ? 0 : 1;
}
