/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines that peers cause. */
#include "daemon/service.h"

#include <time.h>

#include "conf/log.h"

void kl_service_log_peer(struct kl_service *service, const char *event, const char *address,
                         const char *serial, const struct kl_err *err)
{
    uint64_t suppressed = kl_quota_roll(&service->log_quota, (int64_t)time(NULL));

    if (suppressed > 0) {
        kl_log(KL_LOG_WARN, "peer-lines-suppressed", KL_NUM("count", suppressed));
    }
    if (kl_quota_take(&service->log_quota, KL_SERVICE_LOG_MAX)) {
        kl_log(KL_LOG_WARN, event, KL_STR("address", address), KL_STR("serial", serial),
               KL_LOG_ERR(err));
    }
}
