/* The physics of a batch with nothing around it: every thread steps its share of the copies, one
 * control period after the other, in the order in which a batched simulator does. Threads do not
 * wait for each other between periods, as a closed loop has to: nothing that leaves every copy in
 * memory of its own can be faster. */

#include <mujoco/mujoco.h>
#include <pthread.h>
#include <string.h>

#define MOST_THREADS 256

typedef struct {
  const mjModel* model;
  mjData* const* data;
  const mjtNum* controls; /* (period, copy, actuator) */
  int copies, first, last, periods, substeps, contact_forces;
} Share;

static void* run(void* given) {
  const Share* share = given;
  const int wide = share->model->nu;
  for (int period = 0; period < share->periods; period++) {
    for (int copy = share->first; copy < share->last; copy++) {
      mjData* data = share->data[copy];
      const mjtNum* controls = share->controls + ((size_t)period * share->copies + copy) * wide;
      memcpy(data->ctrl, controls, wide * sizeof(mjtNum));
      for (int step = 0; step < share->substeps; step++) mj_step(share->model, data);
      if (share->contact_forces) mj_rnePostConstraint(share->model, data);
    }
  }
  return NULL;
}

/* Returns 0, or -1 where a thread could not be started. */
int bare_physics(const mjModel* model, mjData* const* data, const mjtNum* controls, int copies,
                 int periods, int substeps, int contact_forces, int threads) {
  pthread_t started[MOST_THREADS];
  Share shares[MOST_THREADS];
  if (threads < 1 || threads > MOST_THREADS) return -1;
  for (int i = 0; i < threads; i++) {
    shares[i] = (Share){model,   data,     controls,       copies, copies * i / threads,
                        copies * (i + 1) / threads, periods, substeps, contact_forces};
  }
  int failed = 0, running = 1;
  for (; running < threads && !failed; running += !failed)
    failed = pthread_create(&started[running], NULL, run, &shares[running]);
  run(&shares[0]);
  for (int i = 1; i < running; i++) pthread_join(started[i], NULL);
  return failed ? -1 : 0;
}
